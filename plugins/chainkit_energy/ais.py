r"""Annealed importance sampling of the partition function.

.. math:: \log p(x) = -E(x) - \log Z, \qquad Z = E[e^{\log \tilde p(s_0) - \log w}]

over annealed chains (Neal 2001; Salakhutdinov and Murray 2008). The estimate of Z is unbiased, so that
of log Z is too low in expectation, and that of log p(x) too high: it is optimistic, the more so the
fewer temperatures and chains there are. Its standard error, and by how much the estimate of log Z
probably falls short, are those of a bootstrap over the chains (:mod:`chainkit_estimators.importance`).
"""

from __future__ import annotations

from functools import partial
from typing import cast

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Estimate, Estimator, ForwardProcess
from chainkit.capabilities import Divisible
from chainkit.data import Data, Examples
from chainkit.errors import DataError
from chainkit.interrupt import poll
from chainkit.modes import evaluating
from chainkit.random import seeded
from chainkit_energy.annealing import annealed, stretched
from chainkit_energy.configs import AISConfig
from chainkit_energy.operator import EnergyOperator
from chainkit_estimators.factorial import factorial_log_prob
from chainkit_estimators.figures import labels, standard_errors
from chainkit_estimators.importance import COLLAPSED, bootstrap, effective_size, log_mean_exp

BLOCK = 250
"""Chains that are run at once, with random numbers of their own."""


def partition_weights(chain: Chain, chains: int, examples: Examples) -> Tensor:
    """log of weights whose mean is Z: float64 [chains], on the CPU, in nats.

    Arguments:
        chain: A chain with as many steps as temperatures are wanted.
        chains: How many annealed chains.
        examples: Whose seed and device to use.
    """
    operator = cast(EnergyOperator, chain.operator)

    def block(first: int) -> Tensor:
        poll()
        source = seeded(examples.device, examples.seed, "annealing", first)
        state, log_w = annealed(chain, min(BLOCK, chains - first), source=source)
        return (operator.log_target(state) - log_w).cpu()

    return torch.cat(list(examples.journal.keep_each([partial(block, first) for first in range(0, chains, BLOCK)])))


def log_unnormalised(chain: Chain, examples: Examples, max_rows: int) -> Tensor:
    """-E(x) of every example: float64 [n], on the CPU, in nats.

    Arguments:
        chain: A chain whose operator comes from an energy.
        examples: The data points x.
        max_rows: How many to hold in memory at once.
    """
    operator = cast(EnergyOperator, chain.operator)
    return torch.cat([operator.log_target(batch.origin).double().cpu() for batch in examples.batches(max_rows)])


def require_one_law(name: str, data: Data) -> None:
    """Makes sure that there is one partition function, not one for each class.

    Arguments:
        name: The estimator, for the message.
        data: The dataset.

    Raises:
        DataError: Labels condition the chain.
    """
    if data.classes is not None:
        raise DataError(f"{name}: each class has a partition function of its own; leave the labels of the data out")


@attrs.frozen(kw_only=True)
class AIS(Estimator, Divisible):
    """log p(x) of the energy's own law, with log Z from annealed chains; optimistic in expectation.

    ``details``: ``log_partition``, ``temperatures`` N, and ``shortfall`` of log Z, in nats.

    Arguments:
        steps: N, the number of temperatures, 1 or more; None is the chain's K.
        chains: Annealed chains, 2 or more.
        max_rows: How many examples to hold in memory at once.
    """

    steps: int | None = None
    chains: int = 100
    max_rows: int = 4000

    def check(self, chain: Chain, examples: Examples) -> None:
        require_one_law("ais", examples.data)

    @torch.no_grad()
    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Estimates log Z once, and log p(x) of every example with it; the process is not used.

        Raises:
            DataError: The data is labelled: every class would have a Z of its own.
            TypeError: The operator is not reversible or comes from no energy.
        """
        self.check(chain, examples)
        longer = stretched(chain, self.steps)
        with evaluating(chain), torch.autocast(torch.device(examples.device).type, enabled=False):
            weights = partition_weights(longer, self.chains, examples)
            values = log_unnormalised(chain, examples, self.max_rows)
        log_partition, effective = log_mean_exp(weights).item(), effective_size(weights).item()
        shortfall, squared = (moment.item() for moment in bootstrap(weights[None].double(), examples.seed))
        return Estimate(
            name="AIS",
            meaning="log p(x) of the energy's law, log Z by annealed importance sampling; optimistic, in expectation above log p(x)",
            value=values.mean().item() - log_partition,
            error_examples=standard_errors(values)[0],
            error_walks=squared**0.5,
            walks=self.chains,
            effective=effective,
            effective_min=effective,
            baseline=factorial_log_prob(examples, self.max_rows)[1].mean().item(),
            details={"log_partition": log_partition, "temperatures": longer.steps, "shortfall": shortfall},
            warnings=self._warnings(effective),
            **labels(examples),
        )

    def _warnings(self, effective: float) -> tuple[str, ...]:
        if effective >= min(COLLAPSED, self.chains / 2):
            return ()
        return (
            f"{effective:.1f} of {self.chains} annealed chains carry log Z: log p(x) is overestimated by more than "
            "the errors say; take more temperatures, and read it beside raise and bidirectional",
        )


def build(config: AISConfig, context: Context) -> AIS:
    """The estimator ``ais``."""
    return AIS(steps=config.steps, chains=config.chains, max_rows=config.max_rows)
