r"""Reverse annealed importance sampling: a conservative estimate.

.. math:: \log \hat p(x) = \log \frac1m \sum_j w_j, \qquad E[w] = p_N(x)

where w are the weights of m walks that heat from x through N temperatures, and p_N is the law of the
annealed chain, from the prior in N transitions down to s_0 (Burda, Grosse and Salakhutdinov 2015). The
estimate of log p_N(x) is too low in expectation, and p_N tends to the energy's law as N grows. For
reversible transitions the heated process of walkback is this walk: RAISE is importance sampling on a
longer chain.
"""

from __future__ import annotations

import attrs

from chainkit import Chain, Context, Estimate, Estimator, ForwardProcess
from chainkit.capabilities import Divisible
from chainkit.data import Examples
from chainkit_energy.annealing import stretched
from chainkit_energy.configs import RAISEConfig
from chainkit_estimators.importance import Importance
from chainkit_walkback.heated import HeatedProcess


@attrs.frozen(kw_only=True)
class RAISE(Estimator, Divisible):
    """A stochastic lower bound on log p_N(x), averaged over the examples; ``details`` as of importance sampling.

    Arguments:
        steps: N, the number of temperatures, 1 or more; None is the chain's K.
        walks: m, walks from each example, 1 or more.
        max_rows: About how many walks to hold in memory at once.
    """

    steps: int | None = None
    walks: int = 10
    max_rows: int = 4000

    def estimate(self, chain: Chain, process: ForwardProcess, examples: Examples) -> Estimate:
        """Estimates the bound; the process is not used.

        Raises:
            NonFiniteError: A log w is not a number, or plus infinity.
            TypeError: The operator is not reversible or comes from no energy.
        """
        longer = stretched(chain, self.steps)
        found = Importance(walks=self.walks, max_rows=self.max_rows).estimate(longer, HeatedProcess(), examples)
        return attrs.evolve(
            found,
            name="RAISE",
            meaning=f"log p(x) of the chain annealed through {longer.steps} temperatures, by reverse annealed importance "
            "sampling; conservative, in expectation a lower bound",
            details={**found.details, "temperatures": longer.steps},
        )


def build(config: RAISEConfig, context: Context) -> RAISE:
    """The estimator ``raise``."""
    return RAISE(steps=config.steps, walks=config.walks, max_rows=config.max_rows)
