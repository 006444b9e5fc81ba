"""The three kinds of normalisation after a layer, by name."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from chainkit.distributed import current
from chainkit.errors import RecipeError
from chainkit.statistics import SharedStatistics
from chainkit_networks.configs import Norm
from chainkit_networks.step_batch_norm import StepBatchNorm
from chainkit_networks.together import normalised_together


class SharedBatchNorm(_BatchNorm, SharedStatistics):
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

        Raises:
            RecipeError: While training, one value per feature in the batch.
        """
        if self.training and current().size > 1:
            return self._together(input)
        if self.training:
            _require_two(input.numel() // self.num_features)
        return super().forward(input)

    def _together(self, values: Tensor) -> Tensor:
        """Training with the rows of all processes; the running variance is the unbiased one, as torch's is."""
        rows = torch.zeros(len(values), dtype=torch.long, device=values.device)
        found = normalised_together(values, rows, self.weight[None], self.bias[None], self.eps)
        count = float(found.count)
        _require_two(count)
        if self.track_running_stats:
            assert self.num_batches_tracked is not None
            assert self.running_mean is not None
            assert self.running_var is not None
            self.num_batches_tracked += 1
            momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(found.mean[0], momentum)
            self.running_var.lerp_(found.variance[0] * (count / (count - 1)), momentum)
        return found.values


def _require_two(count: float) -> None:
    if count < 2:
        raise RecipeError(
            'one example in the batch: batch normalisation needs two or more; a larger train.batch_size or norm = "none" would do'
        )


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
