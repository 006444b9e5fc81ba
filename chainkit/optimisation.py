"""Optimisers: one for each set of parameters, applied when a loss asks for it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainkit.errors import CheckpointError, NonFiniteError, RecipeError, lacks_memory

DEFAULT = "model"
FIXED = ("params", "lr")
"""What of an optimiser's groups of parameters is no state: their parameters, and the rate, which is set for every update."""

GROUP = "group"


def parameter_sets(model: nn.Module, named: Mapping[str, list[nn.Parameter]]) -> dict[str, list[nn.Parameter]]:
    """The named sets of an objective, and the default one of all other parameters; frozen ones are in none.

    Arguments:
        model: All that is trained.
        named: ``Objective.parameter_sets()``.
    """
    claimed = {id(parameter) for parameters in named.values() for parameter in parameters}
    rest = [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in claimed]
    trained = {name: [parameter for parameter in parameters if parameter.requires_grad] for name, parameters in named.items()}
    return {DEFAULT: rest, **trained}


class Optimisers:
    """An optimiser for each set of parameters.

    Arguments:
        sets: Named sets of parameters; empty ones get no optimiser.
        factories: For each set, a function from its parameters to a ``torch.optim.Optimizer``.
        clip_norm: Largest norm of a set's gradient, or None.
    """

    def __init__(
        self,
        sets: Mapping[str, list[nn.Parameter]],
        factories: Mapping[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]],
        clip_norm: float | None = None,
    ) -> None:
        self.sets = {name: parameters for name, parameters in sets.items() if parameters}
        self.clip_norm = clip_norm
        self.optimizers = {name: factories[name](parameters) for name, parameters in self.sets.items()}
        self._rates = {name: [group["lr"] for group in optimizer.param_groups] for name, optimizer in self.optimizers.items()}
        self._built = {name: [_own(group) for group in optimizer.param_groups] for name, optimizer in self.optimizers.items()}
        self._untried: set[str] = set()

    def parameters(self, name: str | None) -> list[nn.Parameter]:
        """The parameters that a loss of this set reaches.

        Raises:
            RecipeError: The objective names a set that it does not define, or one without parameters.
        """
        name = name or DEFAULT
        if name not in self.sets:
            raise RecipeError(f"objective: no trainable parameters in the set {name!r}")
        return self.sets[name]

    def scale_rates(self, factor: float) -> None:
        """Sets every learning rate to ``factor`` times its initial value."""
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self._rates[name], strict=True):
                group["lr"] = rate * factor

    def rate(self) -> float:
        """The present learning rate of the first set."""
        return float(next(iter(self.optimizers.values())).param_groups[0]["lr"])

    def apply(self, name: str, loss: Tensor | None = None) -> float:
        """Clips the gradient of a set, updates its parameters and forgets the gradient.

        The loss and the norm of the gradient are read from the device at once.

        Arguments:
            name: The set.
            loss: What the gradient is of, a scalar, or None.

        Returns:
            The loss; 0 without one.

        Raises:
            NonFiniteError: The loss or the gradient is not finite; nothing is updated.
            CheckpointError: The first step after ``restore`` finds that the state does not fit the parameters.
        """
        optimizer, parameters = self.optimizers[name], self.sets[name]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = _norm(gradients)
        read = (torch.zeros_like(norm) if loss is None else loss.detach(), norm)
        numbers = torch.stack([number.to(norm.device, torch.promote_types(norm.dtype, torch.float32)) for number in read]).tolist()
        for number, words in zip(numbers, ("the loss of {} is {}", "the gradient of {} has norm {}"), strict=True):
            if not math.isfinite(number):
                raise NonFiniteError(words.format(name, number))
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.clip_norm, norm)
        self._step(name)
        optimizer.zero_grad(set_to_none=True)
        return float(numbers[0])

    def _step(self, name: str) -> None:
        try:
            self.optimizers[name].step()
        except RuntimeError as error:
            # Only the optimiser knows of which shapes its state has to be.
            if name in self._untried and not lacks_memory(error):
                raise CheckpointError(f"the checkpoint does not fit the recipe: the optimiser of {name} cannot use it ({error})") from error
            raise
        self._untried.discard(name)

    @torch.no_grad()
    def flush(self) -> None:
        """Takes what the optimisers remember in numbers too small for full precision (float32: below 1.2e-38) for 0.

        The average of a gradient that has become 0, that of a silent unit, falls below them after some 800
        updates. A CPU takes ten times as long over each, which would slow a training down by half.
        """
        for optimizer in self.optimizers.values():
            for entries in optimizer.state.values():
                for value in entries.values():
                    if isinstance(value, Tensor) and value.is_floating_point():
                        torch.hardshrink(value, torch.finfo(value.dtype).tiny, out=value)

    def require_finite(self) -> None:
        """Makes sure that the parameters are finite.

        Raises:
            NonFiniteError: One is not.
        """
        for name, parameters in self.sets.items():
            # A sum is read once from memory, but one of finite numbers may overflow.
            if not (math.isfinite(_sum(parameters)) or all(torch.isfinite(parameter).all() for parameter in parameters)):
                raise NonFiniteError(f"a parameter of {name} is not finite")

    def forget_gradients(self) -> None:
        """Drops the gradients of all sets."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The state of all optimisers, as named tensors and JSON data: of parameters, and what has changed of groups of them."""
        tensors: dict[str, Tensor] = {}
        numbers: dict[str, Any] = {}
        for name, optimizer in self.optimizers.items():
            entries: dict[str, Mapping[str, Any]] = {str(index): kept for index, kept in optimizer.state_dict()["state"].items()}
            for number, (group, built) in enumerate(zip(optimizer.param_groups, self._built[name], strict=True)):
                entries[f"{GROUP}{number}"] = _changed(_own(group), built)
            for index, kept in entries.items():
                for key, value in kept.items():
                    target: dict[str, Any] = tensors if isinstance(value, Tensor) else numbers
                    target[f"{name}/{index}/{key}"] = value
        return tensors, numbers

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Puts back a copy of what ``state`` gave."""
        states: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in self.optimizers}
        groups = {name: [dict(group) for group in built] for name, built in self._built.items()}
        for path, value in {**tensors, **numbers}.items():
            name, index, key = path.rsplit("/", 2)
            kept = groups[name][int(index.removeprefix(GROUP))] if index.startswith(GROUP) else states[name].setdefault(int(index), {})
            like = kept.get(key, value)
            kept[key] = value.to(like.device, copy=True) if isinstance(value, Tensor) and isinstance(like, Tensor) else value
        for name, optimizer in self.optimizers.items():
            fixed = [{key: group[key] for key in FIXED} for group in optimizer.state_dict()["param_groups"]]
            param_groups = [{**group, **own} for group, own in zip(fixed, groups[name], strict=True)]
            optimizer.load_state_dict({"state": states[name], "param_groups": param_groups})
        self._untried = set(self.optimizers)


def _own(group: Mapping[str, Any]) -> dict[str, Any]:
    """What a group of parameters holds that its optimiser may count in, copied."""
    return copy.deepcopy({key: value for key, value in group.items() if key not in FIXED})


def _changed(now: Mapping[str, Any], built: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in now.items() if key not in built or not _same(value, built[key])}


def _same(value: Any, built: Any) -> bool:
    tensors = isinstance(value, Tensor), isinstance(built, Tensor)
    return torch.equal(value, built) if all(tensors) else not any(tensors) and bool(value == built)


def _sum(tensors: Sequence[Tensor]) -> float:
    sums = [tensor.detach().sum(dtype=torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors]
    return float(torch.stack(sums).sum())


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of several tensors as one vector; by the products of BLAS, where it has them, in half the time of torch's norms."""
    if all(g.device.type == "cpu" and g.layout == torch.strided and g.dtype in (torch.float32, torch.float64) for g in gradients):
        squares = [torch.dot(flat, flat) for flat in (gradient.flatten() for gradient in gradients)]
        return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())
    return torch.nn.utils.get_total_norm(gradients)
