r"""How often a conditional chain finds the right output.

.. math:: \hat p(y | x) = \frac1n \sum_{j=1}^{n} p(y | s_1^{(j)}, x), \qquad
    \text{right where}\ \arg\max_i \hat p(y_i = 1 | x) = \arg\max_i y_i

with n chains from the prior for every x. Averaging what the last states say of y, instead of the
draws of y, has the same mean and less variance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from chainkit.chain import Chain
from chainkit.data import Examples
from chainkit.errors import DataError
from chainkit.estimator import Estimate, Estimator
from chainkit.interrupt import poll
from chainkit.process import ForwardProcess

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_gsn.configs import AccuracyConfig


@attrs.frozen(kw_only=True)
class OutputAccuracy(Estimator):
    """The share of examples whose most probable output under the chain is the right one.

    Arguments:
        chains: n, chains for each example, 1 or more.
        steps: Number of sampling steps; None is the trained K.
        max_rows: About how many chains to hold in memory at once.
    """

    chains: int = 10
    steps: int | None = None
    max_rows: int = 4000

    def check(self, chain: Chain, examples: Examples) -> None:
        chain.plan(chain.steps if self.steps is None else self.steps)
        if examples.data.summary.condition is None:
            raise DataError(
                f"outputs are judged by what each example is conditioned on, which {examples.data.name} lacks; take the dataset labels-of"
            )

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Samples given what each example is conditioned on, and compares.

        Raises:
            TypeError: The last step of the chain has no mean.
        """
        right = torch.cat(self._right(chain, examples)).double()
        data = examples.data
        commonest = data.summary.mean.flatten().argmax()
        constant = torch.cat([batch.origin.flatten(1).argmax(1) == commonest for batch in examples.batches(self.max_rows)])
        return Estimate(
            name="output accuracy",
            value=float(right.mean()),
            meaning=f"share of outputs that the mean of {self.chains} chains gets right",
            unit="of 1",
            error_examples=float(right.std() / len(right) ** 0.5) if len(right) > 1 else None,
            examples=len(right),
            split=examples.split,
            preparation=data.preparation.words,
            dim=data.summary.dim,
            seed=examples.seed,
            likelihood=False,
            beside={"always the commonest": float(constant.double().mean())},
        )

    def _right(self, chain: Chain, examples: Examples) -> list[Tensor]:
        found = []
        for batch in examples.batches(max(1, self.max_rows // self.chains)):
            poll()
            assert batch.index is not None
            source = examples.source(batch.index, "outputs", rows=self.chains)
            given = batch.repeat(self.chains).condition
            samples = chain.sample(len(batch) * self.chains, steps=self.steps, condition=given, source=source)
            if samples.mean is None:
                raise TypeError("the accuracy of outputs needs a last step with a mean")
            mean = samples.mean.double().view(len(batch), self.chains, -1).mean(1)
            found.append(mean.argmax(1) == batch.origin.flatten(1).argmax(1))
        return found


def build(config: AccuracyConfig, context: Context) -> OutputAccuracy:
    """The estimator ``output-accuracy``."""
    return OutputAccuracy(chains=config.chains, steps=config.steps, max_rows=config.max_rows)
