r"""The Markov chain of a denoising autoencoder.

.. math:: \tilde x \to p(x | \tilde x) \to x \to C(\tilde x' | x) \to \tilde x' \to \dots

(chapter 20.11.1 of Goodfellow, Bengio and Courville; Bengio et al. 2013). With the exact posterior
:math:`p(x | \tilde x) \propto p_{data}(x)\, C(\tilde x | x)` the x of this chain have the law of the data:
drawing x~ and x in turn is Gibbs sampling of their joint law. A network whose reconstruction is a
product over elements cannot be that posterior in general; the chain then settles nearby.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from chainkit.capabilities import LastStepApart
from chainkit.distributions import Distribution
from chainkit.kernel import BernoulliKernel, GaussianKernel
from chainkit.network import Network
from chainkit.operator import TransitionOperator
from chainkit_gsn.capabilities import KeepsBits, Reconstructs
from chainkit_gsn.corruption import Corruption, known_bits, known_reals
from chainkit_gsn.kernel import AutoencoderKernel

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_gsn.configs import DenoisingBernoulliConfig, DenoisingGaussianConfig

RATES = (0.01, 0.99)
SOFTPLUS_ONE = 0.5413248546129181
"""The number whose softplus is 1."""


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float32 if its type is narrower: autocast reaches networks, never distributions."""
    return tensor if torch.finfo(tensor.dtype).bits >= 32 else tensor.float()


def of_bits(corruption: Corruption) -> Corruption:
    """The corruption, if it can be that of a chain of bits.

    Raises:
        ValueError: It makes something else of bits.
    """
    if not isinstance(corruption, KeepsBits):
        raise ValueError(f"corruption: {type(corruption).__name__} makes real numbers of bits; take salt-and-pepper or masking")
    return corruption


class Autoencoder(TransitionOperator, Reconstructs, LastStepApart):
    """An operator around a network that is shown corrupted examples.

    Arguments:
        network: F, with the number of heads that the operator states.
        corruption: C(x~ | x).
    """

    def __init__(self, network: Network, corruption: Corruption) -> None:
        super().__init__()
        self.network = network
        self.corruption = corruption


class DenoisingBernoulli(Autoencoder):
    r"""p(x | x~) = Bernoulli(sigmoid(F(x~))), for states of zeros and ones.

    Arguments:
        network: F, with one head.
        corruption: C(x~ | x), of bits.

    Raises:
        ValueError: The corruption makes something else of bits.
    """

    def __init__(self, network: Network, corruption: Corruption) -> None:
        super().__init__(network, of_bits(corruption))

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> AutoencoderKernel:
        (logits,) = self.network(state, k, condition)
        return AutoencoderKernel(BernoulliKernel(wide(logits)), self.corruption, k)

    def entry(self, origin: Tensor) -> Distribution:
        return self.corruption.law(known_bits(origin))


class DenoisingGaussian(Autoencoder):
    r"""p(x | x~) = N(F_mu(x~), sigma^2), sigma = sigma_min + sigma0 softplus(F_sigma(x~)), for real states.

    Arguments:
        network: (F_mu, F_sigma), with two heads.
        corruption: C(x~ | x).
        sigma0: Standard deviation where softplus is 1, in model units, above 0.
        sigma_min: Smallest standard deviation, in model units, above 0.
    """

    def __init__(self, network: Network, corruption: Corruption, sigma0: float = 0.1, sigma_min: float = 1e-3) -> None:
        super().__init__(network, corruption)
        self.sigma0 = sigma0
        self.sigma_min = sigma_min

    def forward(self, state: Tensor, k: int | Tensor, condition: Any = None) -> AutoencoderKernel:
        mean, spread = map(wide, self.network(state, k, condition))
        sigma = self.sigma_min + self.sigma0 * softplus(spread)
        return AutoencoderKernel(GaussianKernel(mean, sigma.square()), self.corruption, k)

    def entry(self, origin: Tensor) -> Distribution:
        return self.corruption.law(known_reals(origin))


def build_bernoulli(config: DenoisingBernoulliConfig, context: Context) -> DenoisingBernoulli:
    """The operator ``dae-bernoulli``; its reconstructions start at the rates of the data."""
    operator = DenoisingBernoulli(context.build(config.network, heads=1), context.build(config.corruption))
    operator.network.bias_heads([context.data.mean.clamp(*RATES).logit()])
    return operator


def build_gaussian(config: DenoisingGaussianConfig, context: Context) -> DenoisingGaussian:
    """The operator ``dae-gaussian``; its reconstructions start at the mean of the data."""
    corruption = context.build(config.corruption)
    operator = DenoisingGaussian(context.build(config.network, heads=2), corruption, config.sigma0, config.sigma_min)
    operator.network.bias_heads([context.data.mean, torch.full_like(context.data.mean, SOFTPLUS_ONE)])
    return operator
