r"""The optimum: log p(x) under the law that the data was drawn from, given its label where the chain is given it.

.. math:: E_x[\log p_{\mathrm{data}}(x)] \ge E_x[\log p(x)] \quad\text{for every model p}

(Gibbs' inequality), with equality for the law itself. Both sides are means over the same examples,
so that most of the error that they share drops out of their difference.
"""

from __future__ import annotations

import attrs
import torch

from chainkit import Chain, Context, Estimate, Estimator, ForwardProcess
from chainkit.data import Data, Examples, Law
from chainkit.errors import DataError
from chainkit_estimators.configs import OptimumConfig
from chainkit_estimators.figures import labels, law, standard_errors


@attrs.frozen(kw_only=True)
class Optimum(Estimator):
    """Mean log density of the examples under the law of the data, in nats.

    Arguments:
        max_rows: How many examples to hold in memory at once.
    """

    max_rows: int = 4000

    def check(self, chain: Chain, examples: Examples) -> None:
        _law(examples.data)

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Evaluates the law; chain and process are not used.

        Raises:
            DataError: The law of the data is not known.
        """
        log_density = _law(examples.data)
        each = torch.cat([log_density(batch.origin, batch.condition) for batch in examples.batches(self.max_rows)])
        return Estimate(
            name="optimum",
            meaning=f"{law(examples.data)} under the law that the data was drawn from, which no model exceeds in expectation",
            value=each.mean().item(),
            error_examples=standard_errors(each)[0],
            **labels(examples),
        )


def _law(data: Data) -> Law:
    if data.log_density is None:
        raise DataError(f"the law of {data.name} is not known, and so neither is the optimum")
    return data.log_density


def build(config: OptimumConfig, context: Context) -> Optimum:
    """The estimator that a recipe describes."""
    return Optimum(max_rows=config.max_rows)
