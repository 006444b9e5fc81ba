r"""The infusion chain: the model's own walk from noise, nudged towards a data point.

.. math::
    q_i(s_{K,i} | x) &= (1 - \alpha_0)\, p^*_i(s_{K,i}) + \alpha_0\, \delta_{x_i}(s_{K,i}) \\
    q_i(s_{k-1,i} | s_k, x) &= (1 - \alpha_t)\, p_i(s_{k-1,i} | s_k) + \alpha_t\, \delta_{x_i}(s_{k-1,i}), \qquad t = K - k + 1

(infusion paper, section 3.3.3.1). Every factor of q is the mixture of a factor of p with a narrow
distribution around x, hence

.. math:: \log w = \log p(x | s_1) - \sum_{k=1}^{K} \sum_i \log\left[(1 - \alpha_{K-k})
    + \alpha_{K-k}\, \frac{\delta_{x_i}(s_{k,i})}{p_i(s_{k,i} | s_{k+1})}\right]

where p(s_K | s_{K+1}) stands for p*(s_K) (eqs. 3.3.2 and 3.3.3). Without infusion, log w is log p(x | s_1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from torch import Tensor

from chainkit import Batch, Chain, Context, Factorial, ForwardProcess, Schedule, Transition
from chainkit.distributions import Infused
from chainkit.random import BITS, Source
from chainkit_infusion.configs import BinaryInfusionConfig, InfusionConfig
from chainkit_infusion.near import NearBits, NearGaussian

Near: TypeAlias = Callable[[Tensor], Factorial]


class InfusionProcess(ForwardProcess):
    """q(s_1..s_K | x), drawn from s_K to s_1 with K network evaluations.

    Arguments:
        rate: alpha_t in [0, 1], not learned; value j of the schedule is alpha_{j-1}, so that s_k is
            drawn at the rate ``values(K)[K - k]``.
        near: delta_x, a factorial distribution around each x, such as :class:`NearGaussian`.
    """

    def __init__(self, rate: Schedule, near: Near | None = None) -> None:
        super().__init__()
        self.rate = rate
        self.near = near or NearGaussian()

    def rates(self, steps: int) -> list[float]:
        """alpha_0..alpha_{K-1}, to the nearest multiple of 2^-16, at which the choice takes 16 random bits.

        Arguments:
            steps: K.

        Raises:
            ValueError: The schedule is learned, or leaves [0, 1].
        """
        values = self.rate.values(steps)
        if values.requires_grad:
            raise ValueError("an infusion rate cannot be learned: the choice between model and target has no gradient")
        rates = values.tolist()
        if not all(0 <= rate <= 1 for rate in rates):
            raise ValueError(f"an infusion rate lies in [0, 1], not {min(rates):g}..{max(rates):g}")
        return [round(rate * BITS) / BITS for rate in rates]

    def walk(
        self, chain: Chain, batch: Batch, *, source: Source = None, path_gradient: bool = False, with_log_ratio: bool = False
    ) -> Iterator[Transition]:
        """One walk for each example, k = K..1; s_0 is x.

        Raises:
            TypeError: The prior or the operator does not give a product over elements.
            ValueError: See :meth:`rates`.
        """
        rates = self.rates(chain.steps)
        temperatures = chain.temperatures()
        target = self.near(batch.origin)

        def infuse(model: Factorial, k: int) -> tuple[Tensor, Tensor | None]:
            infused = Infused(model, target, rates[chain.steps - k])
            state = infused.rsample(source) if path_gradient else infused.sample(source)
            return state, infused.log_base_ratio(state) if with_log_ratio else None

        state, noise_share = infuse(_factorial(chain.prior(batch.rows), chain.prior), chain.steps)
        for k in range(chain.steps, 0, -1):
            reverse = _factorial(chain.operator(state, k, batch.condition).at(temperatures[k - 1]), chain.operator)
            if k > 1:
                previous, share = infuse(reverse, k - 1)
            else:
                previous, share = batch.origin, reverse.log_prob(batch.origin) if with_log_ratio else None
            if k == chain.steps and share is not None and noise_share is not None:
                share = share + noise_share
            yield Transition(
                k=k,
                steps=chain.steps,
                state=state,
                previous=previous,
                origin=batch.origin,
                condition=batch.condition,
                reverse=reverse,
                log_ratio=share,
            )
            del reverse, share
            state = previous


def _factorial(distribution: Any, giver: Any) -> Factorial:
    if not isinstance(distribution, Factorial):
        raise TypeError(
            f"infusion chooses every element on its own and needs a product over elements (Factorial), "
            f"but {type(giver).__name__} gives {type(distribution).__name__}"
        )
    return distribution


def build(config: InfusionConfig, context: Context) -> InfusionProcess:
    """The process that a recipe describes, for real data.

    Raises:
        ValueError: The rate is learned, or leaves [0, 1] within the chain's length.
    """
    return _checked(InfusionProcess(context.build(config.rate), NearGaussian(config.variance)), context.steps)


def build_binary(config: BinaryInfusionConfig, context: Context) -> InfusionProcess:
    """The process that a recipe describes, for binary data.

    Raises:
        ValueError: The rate is learned, or leaves [0, 1] within the chain's length.
    """
    return _checked(InfusionProcess(context.build(config.rate), NearBits(config.flip)), context.steps)


def _checked(process: InfusionProcess, steps: int) -> InfusionProcess:
    process.rates(steps)
    return process
