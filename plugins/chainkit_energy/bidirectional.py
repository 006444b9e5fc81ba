r"""How tight the bounds of annealing are: both sides of log p(x), on data simulated from the model.

For s_0 drawn by the annealed chain itself, the way that it came is an exact draw from the posterior
p(s_1..s_N | s_0). With its weight among those of m walks that heat from s_0,

.. math::
    E\Big[\log \frac1m \sum_{j=1}^{m} w_j\Big] \le \log p_N(s_0) \le
    E\Big[\log \frac1m \Big(w_{exact} + \sum_{j=2}^{m} w_j\Big)\Big]

(Grosse, Ghahramani and Adams 2015; Grosse, Ancha and Roy 2016). The gap between the two bounds both
errors at once. The upper bound holds for simulated data alone: of a data point from elsewhere no
exact way is known.
"""

from __future__ import annotations

from functools import partial

import attrs
import torch
from torch import Tensor

from chainkit import Batch, Chain, Context, Estimate, Estimator, ForwardProcess
from chainkit.capabilities import Divisible
from chainkit.data import Examples
from chainkit.interrupt import poll
from chainkit.modes import evaluating
from chainkit.transition import total_log_ratio
from chainkit_energy.annealing import annealed, stretched
from chainkit_energy.configs import BidirectionalConfig
from chainkit_estimators.figures import labels, standard_errors
from chainkit_estimators.importance import log_mean_exp
from chainkit_walkback.heated import HeatedProcess


@torch.no_grad()
def both_bounds(chain: Chain, index: Tensor, walks: int, examples: Examples) -> Tensor:
    """The lower and the upper bound for one simulated data point per example: float64 [2, B], on the CPU, in nats.

    Arguments:
        chain: A chain whose operator is reversible and comes from an energy.
        index: Which examples; they lend their conditions and their random numbers.
        walks: m, 1 or more.
        examples: Where they are from.
    """
    poll()
    batch = examples.batch(index)
    state, exact = annealed(chain, batch.rows, batch.condition, examples.source(index, "simulated"))
    simulated = Batch(origin=state, rows=batch.rows, condition=batch.condition).repeat(walks)
    source = examples.source(index, "walks", rows=walks)
    heated = total_log_ratio(HeatedProcess().walk(chain, simulated, source=source, with_log_ratio=True)).view(batch.rows, walks)
    upper = torch.cat([exact[:, None], heated[:, 1:]], 1)
    return torch.stack([log_mean_exp(heated), log_mean_exp(upper)]).cpu()


@attrs.frozen(kw_only=True)
class Bidirectional(Estimator, Divisible):
    """The gap between the bounds in nats, with both beside it; as many data points are simulated as there are examples.

    Arguments:
        steps: N, the number of temperatures, 1 or more; None is the chain's K.
        walks: m, walks from each simulated data point, 1 or more.
        max_rows: About how many walks to hold in memory at once.
    """

    steps: int | None = None
    walks: int = 10
    max_rows: int = 4000

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Simulates and bounds; the process is not used.

        Raises:
            TypeError: The operator is not reversible or comes from no energy.
        """
        longer = stretched(chain, self.steps)
        with evaluating(chain), torch.autocast(torch.device(examples.device).type, enabled=False):
            parts = examples.index.split(max(1, self.max_rows // self.walks))
            pieces = [partial(both_bounds, longer, index, self.walks, examples) for index in parts]
            lower, upper = torch.cat(list(examples.journal.keep_each(pieces)), 1)
        gap = upper - lower
        return Estimate(
            name="bidirectional gap",
            meaning=f"upper less lower bound on log p(x) of the chain annealed through {longer.steps} temperatures, in "
            "expectation, on data simulated from it",
            value=gap.mean().item(),
            error_examples=standard_errors(gap)[0],
            walks=self.walks,
            beside={"lower bound": lower.mean().item(), "upper bound": upper.mean().item()},
            likelihood=False,
            lower_is_better=True,
            details={"temperatures": longer.steps},
            **labels(examples),
        )


def build(config: BidirectionalConfig, context: Context) -> Bidirectional:
    """The estimator ``bidirectional``."""
    return Bidirectional(steps=config.steps, walks=config.walks, max_rows=config.max_rows)
