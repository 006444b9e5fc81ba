r"""The Generative Stochastic Network with several hidden layers.

.. math::
    h_l = \tanh(W_l^T h_{l-1} + W_{l+1} h_{l+1} + b_l + n_l) + m_l, \qquad h_0 = \tilde x, \qquad
    p(x | h_1) = \mathrm{Bernoulli}(\mathrm{sigmoid}(W_1 h_1 + b_0))

(chapter 20.12 of Goodfellow, Bengio and Courville; Bengio et al. 2014): weights tied between the way
up and the way down, noise before and after every nonlinearity, odd layers updated first, from their
neighbours, then the even ones and x. Like a deep Boltzmann machine's block Gibbs sampling, with
noisy units in the place of random bits.

The network is evaluated between two draws: of the noise of the odd layers, and of x and the even
layers. A state therefore holds the corrupted x, the even layers as they are, and for each odd layer,
which is about to be computed anew, the noise that it will get:

.. math:: s_k = (\tilde x, (n_1, m_1), h_2, (n_3, m_3), \dots)

One evaluation of the network per state then needs no random numbers of its own, and its output is
p(x | h_1), whose mean is what is displayed. A bare tensor is a state, too: x~ with all hidden layers
at rest, which is how a chain starts from a prior over x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from chainkit.capabilities import LastStepApart
from chainkit.distributions import Distribution
from chainkit.kernel import BernoulliKernel, Kernel
from chainkit.operator import TransitionOperator
from chainkit.states import State
from chainkit_gsn.autoencoder import RATES, of_bits, wide
from chainkit_gsn.capabilities import Reconstructs
from chainkit_gsn.corruption import Corruption, known_bits
from chainkit_gsn.kernel import DenoisingKernel
from chainkit_gsn.units import NoisyUnits, Parts, at_rest, noise

if TYPE_CHECKING:
    from chainkit.component import Context
    from chainkit_gsn.configs import GSNConfig


class GSNKernel(DenoisingKernel):
    """p(s_{k-1} | s_k) of a GSN. A temperature divides the logits of x and leaves the hidden noise as it is.

    Arguments:
        clean: The kernel of p(x | h_1).
        corruption: C(x~ | x).
        hidden: The law of each hidden layer's part of the next state, from the lowest one up.
        k: The step, an int, or a LongTensor [B] that is 1 everywhere or nowhere.
    """

    def __init__(self, clean: Kernel, corruption: Corruption, hidden: Sequence[Distribution], k: int | Tensor) -> None:
        super().__init__(clean, k)
        self.corruption = corruption
        self.hidden = hidden

    def onward(self, temperature: float | Tensor = 1.0) -> Parts:
        return Parts(self.corruption.law(self.clean.at(temperature)), *self.hidden)

    def at(self, temperature: float | Tensor = 1.0) -> Distribution:
        """The law of the next state: of x alone at k = 1, elsewhere of x~ and the hidden layers.

        Raises:
            ValueError: Some rows are at k = 1 and others are not; their states differ in shape.
        """
        last = torch.as_tensor(self.k == 1)
        if last.any() != last.all():
            raise ValueError("the states of a GSN at k = 1 and elsewhere differ in shape: they cannot share a batch")
        return self.clean.at(temperature) if last.all() else self.onward(temperature)


class GSN(TransitionOperator, Reconstructs, LastStepApart):
    """A GSN over bits.

    Arguments:
        shape: Shape of x, [*event].
        hidden: Units of the hidden layers, from the lowest up, at least one layer.
        corruption: C(x~ | x), of bits.
        noise: sigma of each hidden layer, before and after its nonlinearity, 0 or more.
        classes: Number of class labels that condition the lowest hidden layer, or None.
        given: Shape of the real values that condition it, or None (a discriminant GSN, chapter 20.12.1).

    Raises:
        ValueError: No hidden layer, as many noises as layers are not given, or the corruption is not of bits.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int],
        corruption: Corruption,
        noise: Sequence[float],
        *,
        classes: int | None = None,
        given: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if not hidden or len(noise) != len(hidden):
            raise ValueError(f"a GSN has one hidden layer or more and one noise for each, not {len(hidden)} and {len(noise)}")
        widths = [math.prod(shape), *hidden]
        self.widths = widths
        self.corruption = of_bits(corruption)
        self.noise = list(noise)
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(below, above)) for below, above in pairwise(widths))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in widths)
        for weight in self.weights:
            nn.init.xavier_uniform_(weight)
        self.labels = None if classes is None else nn.Embedding(classes, hidden[0])
        self.given = None if given is None else nn.Linear(math.prod(given), hidden[0], bias=False)

    def forward(self, state: State, k: int | Tensor, condition: Any = None) -> GSNKernel:
        """One update of all layers.

        Arguments:
            state: s_k, or x~ alone.
            k: The step.
            condition: Labels, a LongTensor [B], or real values [B, *given]; not used unless the network has a place for it.

        Raises:
            ValueError: A condition is missing.
        """
        visible, parts = (state, ()) if isinstance(state, Tensor) else (state[0], state[1:])
        layers: list[Tensor | None] = [visible.flatten(1), *[None] * len(self.weights)]
        for layer, part in enumerate(parts, 1):
            layers[layer] = None if layer % 2 else part
        told = self._told(condition)
        for layer in range(1, len(layers), 2):
            before, after = parts[layer - 1] if parts else (0.0, 0.0)
            drive = self._drive(layer, layers)
            layers[layer] = torch.tanh((drive if told is None or layer > 1 else drive + told) + before) + after
        logits = wide(self._drive(0, layers)).view_as(visible)
        return GSNKernel(BernoulliKernel(logits), self.corruption, [self._part(layer, layers) for layer in range(1, len(layers))], k)

    def _drive(self, layer: int, layers: Sequence[Tensor | None]) -> Tensor:
        """What the neighbours of a layer tell it; those at rest tell it nothing."""
        total = self.biases[layer]
        if layer > 0 and (below := layers[layer - 1]) is not None:
            total = total + below @ self.weights[layer - 1]
        if layer + 1 < len(layers) and (above := layers[layer + 1]) is not None:
            total = total + above @ self.weights[layer].T
        return total

    def _part(self, layer: int, layers: Sequence[Tensor | None]) -> Distribution:
        """The law of a hidden layer's part of the next state."""
        sigma = self.noise[layer - 1]
        if layer % 2 == 0:
            return NoisyUnits(wide(self._drive(layer, layers)), sigma)
        assert layers[0] is not None
        return noise(layers[0], self.widths[layer], sigma)

    def _told(self, condition: Any) -> Tensor | None:
        if (self.labels is not None or self.given is not None) and condition is None:
            raise ValueError("this GSN is conditioned, but nothing to condition it on was given")
        if self.labels is not None:
            return self.labels(condition)
        return None if self.given is None else self.given(condition.flatten(1))

    def entry(self, origin: Tensor) -> Parts:
        """q(s_1 | x): x corrupted, even layers at rest, the noise of the odd ones drawn."""
        flat = origin.flatten(1)
        hidden = enumerate(zip(self.widths[1:], self.noise, strict=True), 1)
        parts = [noise(flat, units, sigma) if layer % 2 else at_rest(flat, units) for layer, (units, sigma) in hidden]
        return Parts(self.corruption.law(known_bits(origin)), *parts)


def build(config: GSNConfig, context: Context) -> GSN:
    """The operator ``gsn``; its reconstructions start at the rates of the data."""
    sigma = config.noise * len(config.hidden) if len(config.noise) == 1 else config.noise
    data = context.data
    operator = GSN(data.shape, config.hidden, context.build(config.corruption), sigma, classes=data.classes, given=data.condition)
    with torch.no_grad():
        operator.biases[0].copy_(data.mean.clamp(*RATES).logit().flatten())
    return operator
