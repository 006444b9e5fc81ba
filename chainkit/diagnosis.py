"""Where a number stopped being finite: an update that went wrong is replayed, each operation watched.

All draws of an update come from its seeds, so that it can be made again exactly. Every result that is
not finite is traced to the operation that made it from finite ones; results that do not reach the
loss, such as a minus infinity that is masked out, are never named. The words for the place are the
step k of the last network evaluation, the module or function that was running, and what the kernel
of that step held.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from chainkit.build import Model
from chainkit.errors import NonFiniteError
from chainkit.kernel import Kernel
from chainkit.objective import Loss
from chainkit.operator import TransitionOperator
from chainkit.states import State, tensors


@attrs.frozen(kw_only=True)
class Finding:
    """Where the first number that is not finite was made.

    Arguments:
        component: The innermost part of the model that was running, such as
            ``chain.operator.network.layers.0``, ``objective`` or ``data``; or a parameter by name.
        step: k of the last network evaluation; None before the first.
        function: The function that was running.
        operation: torch's name of the operation.
        gradient: The parameter whose gradient it is; None in the forward pass.
        kernel: What of the kernel at this step is not finite, such as ``variance``.
        low: Smallest finite element of the state that the operator was given; None without one.
        high: Largest finite element of it.
    """

    component: str
    step: int | None = None
    function: str = ""
    operation: str = ""
    gradient: str | None = None
    kernel: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def words(self) -> str:
        """The finding in one line."""
        what = f"the gradient of {self.gradient}" if self.gradient else "the first such number"
        made = ", ".join(filter(None, (self.function, self.operation)))
        parts = [f"{what} comes from {self.component}" + (f" ({made})" if made else "")]
        if self.step is not None:
            parts.append(f"at step k = {self.step}")
        if self.kernel:
            parts.append(f"and spoils the kernel's {' and '.join(self.kernel)}")
        if self.low is not None:
            parts.append(f"from states in [{self.low:.4g}, {self.high:.4g}]")
        return " ".join(parts)


def replay(descend: Callable[[Watch], Any], model: Model, data: object) -> Finding | None:
    """Makes an update again, watched.

    Arguments:
        descend: Makes the update with the losses that :meth:`Watch.losses` passes on.
        model: What is trained, as it was before the update.
        data: The dataset.

    Returns:
        Where the trouble begins; None if this time there is none.
    """
    if (broken := broken_parameter(model)) is not None:
        return broken
    watch = Watch(model, data)
    with watch:
        try:
            descend(watch)
        except NonFiniteError:
            watch.note_gradients()
    return watch.finding


def broken_parameter(model: Model) -> Finding | None:
    """The first parameter that is not finite, if any."""
    names = (name for name, parameter in model.named_parameters() if not _finite(parameter))
    return next((Finding(component=name, function="not finite since an earlier update") for name in names), None)


def explained(error: NonFiniteError, finding: Finding | None, where: Mapping[str, int]) -> NonFiniteError:
    """The error with its place in training and what was found, in words and as data.

    Arguments:
        error: What the optimisers said.
        finding: What the replay found.
        where: ``update`` and ``epoch``, both counted from 0.
    """
    found = "replayed, all of it was finite: the machine or a part does not repeat itself" if finding is None else finding.words
    place = f"at update {where['update']} of epoch {where['epoch']}; this update was not applied"
    report = {**where, "error": str(error), "finding": None if finding is None else attrs.asdict(finding)}
    return NonFiniteError(f"{error} {place}; {found}. A lower learning rate or train.clip_norm may help", report)


class Watch(TorchDispatchMode):
    """Follows numbers that are not finite to the operation that made them.

    Arguments:
        model: What is trained.
        data: The dataset.

    Attributes:
        finding: The first trouble; None so far.
    """

    def __init__(self, model: Model, data: object) -> None:
        super().__init__()
        self.finding: Finding | None = None
        self.model = model
        self._names = {id(module): name or "model" for name, module in model.named_modules()} | {id(data): "data"}
        # Tensors are kept with their origins, so that their memory is not given to others.
        self._origins: dict[int, tuple[Tensor, Finding]] = {}
        self._k: int | Tensor | None = None
        self._state: State | None = None
        self._kernels: dict[Finding, tuple[str, ...]] = {}

    def __enter__(self) -> Watch:
        operator = self.model.chain.operator
        self._hooks = [
            operator.register_forward_pre_hook(self._enter_step, with_kwargs=True),
            operator.register_forward_hook(self._leave_step),
        ]
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def losses(self, losses: Iterator[Loss]) -> Iterator[Loss]:
        """Passes losses on and looks at each, and at the gradients after it."""
        for loss in losses:
            if self.finding is None and not _finite(loss.value):
                origin = self._origin(loss.value)
                self.finding = attrs.evolve(origin, kernel=self._kernels.get(origin, ()))
            yield loss
            self.note_gradients()

    def note_gradients(self) -> None:
        """Looks for a gradient that is not finite."""
        for name, parameter in self.model.named_parameters():
            if self.finding is None and parameter.grad is not None and not _finite(parameter.grad):
                self.finding = attrs.evolve(self._origin(parameter.grad), gradient=name)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        bad = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and not _finite(leaf)]
        if bad:
            inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            inherited = [self._origins[_memory(leaf)][1] for leaf in inputs if _memory(leaf) in self._origins and not _finite(leaf)]
            origin = inherited[0] if inherited else self._place(str(func), bad[0])
            for leaf in bad:
                self._origins.setdefault(_memory(leaf), (leaf, origin))
        return out

    def _origin(self, tensor: Tensor) -> Finding:
        found = self._origins.get(_memory(tensor))
        return self._place("", tensor) if found is None else found[1]

    def _place(self, operation: str, result: Tensor) -> Finding:
        frames = list(_frames(sys._getframe(2)))
        component = next((self._names[key] for frame in frames if (key := id(frame.f_locals.get("self"))) in self._names), "model")
        function = next((frame.f_code.co_qualname for frame in frames if not _foreign(frame)), "")
        low, high = (None, None) if self._state is None else _range(self._state)
        return Finding(component=component, step=self._step(result), function=function, operation=operation, low=low, high=high)

    def _step(self, result: Tensor) -> int | None:
        """k, of the first row that is not finite where rows are at different steps."""
        if not isinstance(self._k, Tensor):
            return self._k
        steps = self._k.reshape(-1)
        if result.dim() and len(result) == len(steps):
            return int(steps[(~torch.isfinite(result)).flatten(1).any(1) if result.dim() > 1 else ~torch.isfinite(result)][0])
        return int(steps[0])

    def _enter_step(self, module: TransitionOperator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = dict(zip(("state", "k"), args, strict=False)) | kwargs
        self._state, self._k = given["state"], given["k"]

    def _leave_step(self, module: TransitionOperator, args: tuple[Any, ...], kernel: Kernel) -> None:
        broken = {name: value for name, value in vars(kernel).items() if isinstance(value, Tensor) and not _finite(value)}
        for value in broken.values():
            self._kernels.setdefault(self._origin(value), tuple(broken))


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor.detach()).all())


def _memory(tensor: Tensor) -> int:
    """Views of one storage share their origin."""
    return tensor.untyped_storage().data_ptr()


def _range(state: State) -> tuple[float | None, float | None]:
    values = torch.cat([tensor.detach()[torch.isfinite(tensor)].double() for tensor in tensors(state)])
    return (float(values.min()), float(values.max())) if len(values) else (None, None)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _foreign(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return module == __name__ or module.partition(".")[0] == "torch"
