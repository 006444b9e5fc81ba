"""The three kinds of normalisation after a layer, by name."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from chainkit_networks.configs import Norm
from chainkit_networks.step_batch_norm import StepBatchNorm


class SharedBatchNorm(_BatchNorm):
    """Torch's batch normalisation, whatever the step; of [B, features] or [B, features, *space].

    Arguments:
        num_features: Number of features or channels.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions after the features is fine."""

    def forward(self, input: Tensor, k: int | Tensor | None = None) -> Tensor:
        """Normalises values.

        Arguments:
            input: [B, features] or [B, features, *space].
            k: The step, not used.
        """
        return super().forward(input)


class Unnormalised(nn.Module):
    """Leaves values as they are."""

    def forward(self, values: Tensor, k: int | Tensor) -> Tensor:
        return values


def normalisation(norm: Norm, features: int, steps: int) -> nn.Module:
    """A module of (values, k).

    Arguments:
        norm: ``none``, ``per-step`` or ``shared``.
        features: Number of features or channels, 1 or more.
        steps: K.

    Raises:
        ValueError: An unknown kind.
    """
    match norm:
        case "none":
            return Unnormalised()
        case "per-step":
            return StepBatchNorm(features, steps)
        case "shared":
            return SharedBatchNorm(features)
    raise ValueError(f"norm is one of none, per-step, shared, not {norm!r}")
