r"""The kernel of a chain that denoises: x given the state, and what is made of x for the next one.

.. math:: p(s_{k-1} | s_k) = \int p(x | s_k)\, C(s_{k-1} | x)\, dx \quad (k > 1), \qquad p(s_0 | s_1) = p(x | s_1)
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from chainkit.distributions import Density, Distribution
from chainkit.kernel import Kernel
from chainkit_gsn.corruption import Corruption


class DenoisingKernel(Kernel):
    """p(s_{k-1} | s_k) of an operator that denoises.

    Arguments:
        clean: The kernel of p(x | s_k).
        k: The step, an int or a LongTensor [B].
    """

    def __init__(self, clean: Kernel, k: int | Tensor) -> None:
        self.clean = clean
        self.k = k

    def reconstruction(self, temperature: float | Tensor = 1.0) -> Density:
        """p(x | s_k), whatever k.

        Arguments:
            temperature: T > 0, one number or one per row [B].
        """
        found = self.clean.at(temperature)
        assert isinstance(found, Density)
        return found

    @abstractmethod
    def onward(self, temperature: float | Tensor = 1.0) -> Distribution:
        """The law of the chain's next state, x drawn and corrupted again, whatever k.

        Arguments:
            temperature: T > 0, one number or one per row [B].
        """


class AutoencoderKernel(DenoisingKernel):
    """The kernel of a denoising autoencoder, whose states are corrupted examples.

    Arguments:
        clean: The kernel of p(x | x~).
        corruption: C(x~ | x).
        k: The step, an int or a LongTensor [B].
    """

    def __init__(self, clean: Kernel, corruption: Corruption, k: int | Tensor) -> None:
        super().__init__(clean, k)
        self.corruption = corruption

    def onward(self, temperature: float | Tensor = 1.0) -> Distribution:
        return self.corruption.law(self.clean.at(temperature))

    def at(self, temperature: float | Tensor = 1.0) -> Distribution:
        if isinstance(self.k, Tensor):
            return self.corruption.only(self.k > 1).law(self.clean.at(temperature))
        return self.clean.at(temperature) if self.k == 1 else self.onward(temperature)
