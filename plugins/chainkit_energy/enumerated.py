r"""The partition function of small energies, exactly.

.. math:: Z = \sum_h \int e^{-E(v, h)} dv \quad \text{or} \quad Z = \sum_s e^{-E(s)}

over all settings of the hidden units, or of the bits themselves.
"""

from __future__ import annotations

import math
from typing import cast

import attrs
import torch
from torch import Tensor

from chainkit import Chain, Context, Estimate, Estimator, ForwardProcess
from chainkit.capabilities import BinaryStates
from chainkit.data import Examples
from chainkit.errors import DataError
from chainkit.modes import evaluating
from chainkit_energy.ais import log_unnormalised, require_one_law
from chainkit_energy.configs import EnumeratedConfig
from chainkit_energy.energy import Bipartite, Energy
from chainkit_energy.operator import EnergyOperator
from chainkit_estimators.factorial import factorial_log_prob
from chainkit_estimators.figures import labels, standard_errors

MOST_BITS = 20


def settings(bits: int, like: Tensor) -> Tensor:
    """All settings of some bits, [2^bits, bits], of the type and on the device of ``like``.

    Arguments:
        bits: How many, 1 or more.
        like: Any tensor.
    """
    numbers = torch.arange(2**bits, device=like.device)
    return (numbers[:, None] >> torch.arange(bits, device=like.device) & 1).to(like.dtype)


@torch.no_grad()
def log_partition(energy: Energy, like: Tensor, *, binary: bool = True, rows: int = 2**14) -> float:
    """log Z in nats, summed in float64.

    Arguments:
        energy: An energy with at most 20 hidden units, or of at most 20 bits.
        like: A state, [*event].
        binary: Whether states are bits.
        rows: How many settings to hold in memory at once.

    Raises:
        DataError: There are more.
    """
    _require_few(energy, like.numel(), binary)
    if isinstance(energy, Bipartite) and energy.hidden_units <= MOST_BITS:
        terms = [energy.log_hidden_marginal(part) for part in settings(energy.hidden_units, like).split(rows)]
    else:
        terms = [-energy(part.unflatten(1, like.shape)) for part in settings(like.numel(), like).split(rows)]
    return torch.cat(terms).double().logsumexp(0).item()


def _require_few(energy: Energy, elements: int, binary: bool) -> None:
    units, bits = [energy.hidden_units] if isinstance(energy, Bipartite) else [], [elements] if binary else []
    if all(count > MOST_BITS for count in units + bits):
        raise DataError(f"log Z is summed over at most {MOST_BITS} hidden units or bits; estimate it with ais")


def _energy(chain: Chain) -> Energy:
    if not isinstance(chain.operator, EnergyOperator):
        raise TypeError(f"an operator without an energy has no partition function: {type(chain.operator).__name__}")
    return chain.operator.energy


@attrs.frozen(kw_only=True)
class Enumerated(Estimator):
    """log p(x) of the energy's own law, exactly; ``details["log_partition"]`` is log Z.

    Arguments:
        max_rows: How many examples or settings to hold in memory at once.
    """

    max_rows: int = 4000

    def check(self, chain: Chain, examples: Examples) -> None:
        data = examples.data
        require_one_law("enumerated", data)
        _require_few(_energy(chain), math.prod(data.shape), issubclass(data.preparation.states, BinaryStates))

    @torch.no_grad()
    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Sums over all settings; the process is not used.

        Raises:
            DataError: There are too many settings, or the data is labelled.
            TypeError: The operator comes from no energy.
        """
        self.check(chain, examples)
        binary = issubclass(examples.data.preparation.states, BinaryStates)
        with evaluating(chain), torch.autocast(torch.device(examples.device).type, enabled=False):
            like = cast(Tensor, next(examples.batches(1)).origin)[0]
            total = log_partition(_energy(chain), like, binary=binary, rows=self.max_rows)
            values = log_unnormalised(chain, examples, self.max_rows) - total
        return Estimate(
            name="enumerated",
            meaning="log p(x) of the energy's law, exactly",
            value=values.mean().item(),
            error_examples=standard_errors(values)[0],
            baseline=factorial_log_prob(examples, self.max_rows)[1].mean().item(),
            details={"log_partition": total},
            **labels(examples),
        )


def build(config: EnumeratedConfig, context: Context) -> Enumerated:
    """The estimator ``enumerated``."""
    return Enumerated(max_rows=config.max_rows)
