"""The training loop: losses in, updates out, every place in it resumable.

Data order comes from (seed, epoch), random draws from (seed, update, batch), and nothing from
torch's global generator, so that a run that was killed and resumed is the run that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, cast

import attrs
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from chainkit.batch import Batch
from chainkit.build import Model
from chainkit.bundle import Tensors
from chainkit.data import Data
from chainkit.descent import Descent
from chainkit.diagnosis import Watch, broken_parameter, explained, replay
from chainkit.distributed import current, lead, shared
from chainkit.errors import CheckpointError, NonFiniteError, PluginError, RecipeError
from chainkit.interrupt import deferring
from chainkit.modes import matmul_precision
from chainkit.objective import Loss
from chainkit.optimisation import DEFAULT, Optimisers
from chainkit.progress import Progress
from chainkit.random import Source, seeded
from chainkit.recipe.schema import TrainTable
from chainkit.recording import Recording
from chainkit.sharing import sum_metrics
from chainkit.snapshot import Snapshot
from chainkit.stacking import Stacked, why_not_stacked

Follow: TypeAlias = Callable[[Descent, Batch, Source], None]

LOOK_AFTER_EVERY = 50
"""Updates from one look at all parameters and moments to the next."""


class Trainer:
    """Fits a model to the training split.

    Arguments:
        model: What is trained.
        data: The dataset.
        settings: The ``[train]`` table.
        optimisers: The optimisers of the model's parameter sets.
        decay: A function ``(update, updates) -> factor`` of the learning rate.
        seed: Seed of order and draws.
        device: Where to compute.
        steady: Whether all parts of the model state that they are (:class:`chainkit.component.Component`).

    Raises:
        RecipeError: Gradients are to be accumulated, with one update per step.
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        settings: TrainTable,
        optimisers: Optimisers,
        *,
        decay: Callable[[int, int], float] = lambda update, updates: 1.0,
        seed: int = 0,
        device: torch.device | str = "cpu",
        steady: bool = False,
    ) -> None:
        if settings.update == "step" and settings.accumulate > 1:
            raise RecipeError(f'train.accumulate: {settings.accumulate} batches need update = "walk", not one update per step')
        self.model = model
        self.data = data
        self.settings = settings
        self.optimisers = optimisers
        self.decay = decay
        self.seed = seed
        self.device = torch.device(device)
        self.progress = Progress()
        self.one_by_one: str | None = None
        self.recording = Recording(model, optimisers, self.device, asked=settings.graph, steady=steady)
        self._stacked: Stacked | None = None
        self._before = Snapshot(model, optimisers)
        averaging = None if settings.ema is None else get_ema_multi_avg_fn(settings.ema)
        self.average = None if averaging is None else AveragedModel(model, multi_avg_fn=averaging)

    @property
    def reported(self) -> Model:
        """The model that figures are about: the averaged weights where they are kept."""
        return self.model if self.average is None else cast(Model, self.average.module)

    @property
    def batches_per_epoch(self) -> int:
        """Full batches in the training split; one if it is smaller than a batch."""
        return max(1, len(self.data.split("train")) // self.settings.batch_size)

    @property
    def total_updates(self) -> int:
        """Updates that training takes, unless it stops early."""
        updates = self.settings.epochs * math.ceil(self.batches_per_epoch / self.settings.accumulate)
        return updates if self.settings.max_updates is None else min(updates, self.settings.max_updates)

    @property
    def done(self) -> bool:
        """Whether no update is left."""
        return self.progress.stopped or self.progress.update >= self.total_updates

    def epoch_updates(self) -> Iterator[float]:
        """Makes the updates left in the present epoch, yielding the loss of each; no signal stops one in the middle.

        Raises:
            PluginError: The objective yields no loss.
            RecipeError: It asks for updates of its own, where gradients are accumulated.
            NonFiniteError: A loss, gradient or parameter is not finite; all is as it was before the
                update, which was replayed to say where the trouble begins (:mod:`chainkit.diagnosis`).
        """
        size = len(self.data.split("train"))
        order = torch.randperm(size, generator=seeded("cpu", self.seed, "order", self.progress.epoch))
        batches = order.split(self.settings.batch_size)[: self.batches_per_epoch]
        while self.progress.position < len(batches) and not self.done:
            if self.progress.update % LOOK_AFTER_EVERY == 0:
                self._require_finite()
                self.optimisers.flush()
            chosen = batches[self.progress.position : self.progress.position + self.settings.accumulate]
            with matmul_precision(self.settings.matmul), deferring(True):
                descent = self._update(chosen)
            self.progress.position += len(chosen)
            self.progress.update += 1
            self.progress.note(descent.total, descent.metrics)
            yield descent.total
        if self.progress.position >= len(batches):
            self.progress.epoch += 1
            self.progress.position = 0

    def _update(self, batches: tuple[Tensor, ...]) -> Descent:
        self.model.train()
        self.optimisers.scale_rates(self.decay(self.progress.update, self.total_updates))
        before = self._before
        before.begin()
        try:
            descent = self._descend(batches, before, self._follow)
        except NonFiniteError as error:
            before.restore()
            before.complete()
            finding = lead(lambda: replay(lambda watch: self._descend(batches, before, self._watched(watch)), self.model, self.data))
            before.restore()
            raise shared(explained(error, finding, self._where)) from error
        if self.average is not None:
            self.average.update_parameters(self.model)
        return descent

    def _descend(self, batches: tuple[Tensor, ...], before: Snapshot, follow: Follow) -> Descent:
        group, rows, update = current(), len(batches[0]), self.progress.update
        part = group.part(rows)
        descent = self._descent(before, len(part) / rows / len(batches))
        for number, index in enumerate(batches):
            preparation = group.source(seeded(self.device, self.seed, "preparation", update, number), rows)
            batch = self.data.batch("train", index[part.start : part.stop], preparation, self.device)
            follow(descent, batch, group.source(seeded(self.device, self.seed, "walk", update, number), rows))
        if not descent.losses:
            raise PluginError(f"objective: {type(self.model.objective).__name__} yields no loss, so that nothing is trained")
        descent.finish()
        descent.metrics = sum_metrics(descent.metrics, len(part) / rows)
        return descent

    def _descent(self, before: Snapshot, scale: float) -> Descent:
        per_step, accumulate = self.settings.update == "step", self.settings.accumulate
        return Descent(self.optimisers, before, scale, per_step=per_step, accumulate=accumulate, autocast=self.autocast)

    def _follow(self, descent: Descent, batch: Batch, source: Source) -> None:
        def gradients(batch: Batch, source: Source) -> Loss:
            trial = self._descent(descent.before, descent.scale)
            return trial.gather(self._losses(batch, source))

        recorded = self.recording.graph(gradients, batch, restore=descent.before.restore, left=self.total_updates - self.progress.update)
        if recorded is None:
            descent.follow(self._losses(batch, source))
        else:
            loss = recorded(batch, cast(torch.Generator, source).initial_seed())
            descent.add(DEFAULT, loss.value, loss.metrics)

    def _losses(self, batch: Batch, source: Source) -> Iterator[Loss]:
        if self.progress.stacked is None:
            self.one_by_one = lead(lambda: self._why_one_by_one(batch))
            self.progress.stacked = self.one_by_one is None
        if not self.progress.stacked:
            return self._single(batch, source)
        self._stacked = self._stacked or Stacked(self.model)
        return self._stacked.losses(batch, source)

    def _single(self, batch: Batch, source: Source) -> Iterator[Loss]:
        return self.model.losses(batch, source)

    def _watched(self, watch: Watch) -> Follow:
        return lambda descent, batch, source: descent.follow(watch.losses(self._single(batch, source)))

    def _why_one_by_one(self, batch: Batch) -> str | None:
        if self.settings.update == "step":
            return "an update follows every step"
        with self.autocast(), deferring(True):  # one process of several tries
            return why_not_stacked(self.model, batch, seeded(self.device, self.seed, "trial"))

    def autocast(self, enabled: bool = True) -> AbstractContextManager[Any]:
        """A fresh autocast region; one that outlived an update would keep stale bfloat16 weights."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled and self.settings.precision == "bfloat16")

    def state(self) -> tuple[dict[str, Tensors], dict[str, Any]]:
        """All that a checkpoint holds: groups of tensors and JSON data.

        Raises:
            NonFiniteError: The last update has made a parameter that is not finite.
        """
        self._require_finite()
        optimizer, numbers = self.optimisers.state()
        groups = {"model": module_tensors(self.model), "optimizer": optimizer}
        if self.average is not None:
            groups["average"] = module_tensors(self.average)
        return groups, {"progress": attrs.asdict(self.progress), "optimizer": numbers}

    def _require_finite(self) -> None:
        try:
            self.optimisers.require_finite()
        except NonFiniteError as error:
            raise explained(error, broken_parameter(self.model), self._where) from error

    @property
    def _where(self) -> dict[str, int]:
        return {"update": self.progress.update, "epoch": self.progress.epoch}

    def restore(self, groups: dict[str, Tensors], state: dict[str, Any]) -> None:
        """Puts back what ``state`` gave; the model last, so that it stays as it is where something does not fit.

        Raises:
            CheckpointError: The tensors do not fit the recipe.
        """
        progress = Progress(**state["progress"])
        factor = self.decay(max(progress.update - 1, 0), self.total_updates)
        modules = {"model": self.model} if self.average is None else {"average": self.average, "model": self.model}
        for group, module in modules.items():
            require_fit(module, groups[group])
        self.optimisers.restore(groups["optimizer"], state["optimizer"])
        self.optimisers.scale_rates(factor)
        for group, module in modules.items():
            load_tensors(module, groups[group])
        self.progress = progress


def module_tensors(module: torch.nn.Module) -> Tensors:
    """Parameters and buffers by name; what two submodules share appears once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def require_fit(module: torch.nn.Module, tensors: Tensors) -> None:
    """Makes sure that tensors are those of a module.

    Raises:
        CheckpointError: Names, shapes or types differ.
    """
    own = module_tensors(module)
    if differing := sorted(set(own) ^ set(tensors)):
        raise CheckpointError(f"the checkpoint does not fit the recipe: {', '.join(differing[:3])}")
    for name, tensor in own.items():
        shapes, types = (tuple(tensors[name].shape), tuple(tensor.shape)), (tensors[name].dtype, tensor.dtype)
        for found, wanted in (shapes, types):
            if found != wanted:
                raise CheckpointError(f"the checkpoint does not fit the recipe: {name} is {found}, not {wanted}")


@torch.no_grad()
def load_tensors(module: torch.nn.Module, tensors: Tensors) -> None:
    """Copies tensors into a module's parameters and buffers.

    Raises:
        CheckpointError: Names, shapes or types differ; nothing is copied.
    """
    require_fit(module, tensors)
    for name, tensor in module_tensors(module).items():
        tensor.copy_(tensors[name])
