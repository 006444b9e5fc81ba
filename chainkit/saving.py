"""What a run keeps of its training: checkpoints, the weights that it reports, and how to go on from either."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chainkit.bundle import as_written, read_bundle, write_bundle
from chainkit.distributed import in_turn, lead
from chainkit.errors import CheckpointError, DataError
from chainkit.files import remove
from chainkit.fingerprint import fingerprint
from chainkit.progress import Progress
from chainkit.run_directory import RunDirectory
from chainkit.training import load_tensors, module_tensors

if TYPE_CHECKING:
    from chainkit.run import Run


def save_checkpoint(run: Run) -> Path:
    """Writes a checkpoint named after the update and drops the oldest beyond those to be kept."""
    return lead(lambda: _save(run))


def _save(run: Run) -> Path:
    groups, state = run.trainer.state()
    run.metrics.sync()
    state |= {"data": fingerprint(run.data, "train"), "metrics_size": run.metrics.size(), "plugins": _plugin_states(run)}
    path = run.directory.checkpoints / f"{run.update:08d}"
    write_bundle(path, groups, state)
    keep = {path.name, run.trainer.progress.best_checkpoint}
    older = [old for old in run.directory.saved() if old.name not in keep]
    for old in older[: max(0, len(older) - run.recipe.train.checkpoints + 1)]:
        remove(old)
    return path


def _plugin_states(run: Run) -> dict[str, Any]:
    answers = run.host.call("chainkit_checkpoint_save", run=run)
    return {plugin: answer for plugin, answer in answers.items() if answer is not None}


def restore(run: Run) -> bool:
    """Continues where the run stopped: at the end of its training or from the newest sound checkpoint.

    Every damaged checkpoint is named.

    Returns:
        Whether there was anything to continue from.

    Raises:
        CheckpointError: There are checkpoints or final weights, and none is sound.
        DataError: The training data is other than it was.
    """
    damage: CheckpointError | None = None
    if run.directory.final.is_dir():
        try:
            state = load_final(run)
        except CheckpointError as error:
            run.say(f"skipped damaged final weights: {error}")
            damage = error
        else:
            lead(lambda: run.host.restore(run, state))
            return True
    path, complaints = lead(run.directory.latest_sound)
    for complaint in complaints:
        run.say(f"skipped a damaged checkpoint: {complaint}")
    if path is None:
        if damage is not None:
            raise CheckpointError(f"{damage}; no checkpoint is there to make it again from: move {run.directory.final} away to train anew")
        lead(lambda: run.metrics.cut(0))
        if (start := run.recipe.train.start) is not None:
            run.say(f"starting from the {start_from(run, start)} of {start}")
        return False
    groups, state = read_bundle(path)
    with as_written(path):
        kept = {**state["plugins"]}
        lead(lambda: _require_same_data(run, state.get("data"), state["progress"]["update"]))
        run.trainer.restore(groups, state)
        lead(lambda: run.metrics.cut(state["metrics_size"]))
    lead(lambda: run.host.restore(run, kept))
    run.weights = f"weights of update {run.update}"
    return True


def _require_same_data(run: Run, trained_on: str | None, update: int) -> None:
    if trained_on not in (None, fingerprint(run.data, "train")):
        raise DataError(
            f"{run.path}: {run.data.name} holds other training data than up to update {update}: put that back, or train another run"
        )


def start_from(run: Run, start: str) -> str:
    """Takes the weights of another run's chain and process; what its objective owns stays there.

    Arguments:
        run: The run that is to be trained.
        start: The other's directory.

    Returns:
        Which weights they are.

    Raises:
        CheckpointError: The other is no run that has ended, is damaged, or has another model.
    """
    return in_turn(lambda: _start_from(run, RunDirectory(Path(start))))


def _start_from(run: Run, other: RunDirectory) -> str:
    if not other.final.is_dir():
        raise CheckpointError(f"train.start: {other.path} is no run that has ended")
    groups, state = read_bundle(other.final)
    with as_written(other.final):
        weights = str(state["weights"])
        tensors = {name: tensor for name, tensor in groups["model"].items() if name.startswith(("chain.", "process."))}
        for model in (run.model, run.trainer.reported):
            load_tensors(torch.nn.ModuleDict({"chain": model.chain, "process": model.process}), tensors)
        return weights


def conclude(run: Run) -> None:
    """Takes the weights to be reported, recomputes their statistics and writes them to ``final``.

    They are the averaged weights where an average is kept, of the best validation where there was one.
    """
    plugins = lead(lambda: _plugin_states(run))
    chosen = " (best validation)" if _take_best(run) else ""
    kind = "averaged (EMA) weights" if run.trainer.average is not None else "weights"
    run.model = run.trainer.reported
    run.recompute_statistics(run.model)
    run.weights = f"{kind} of update {run.update}{chosen}"
    run.finished = True
    run.trained_on = lead(lambda: fingerprint(run.data, "train"))
    state = {"weights": run.weights, "update": run.update, "epoch": run.epoch, "plugins": plugins, "data": run.trained_on}
    lead(lambda: _write_final(run, state))


def _write_final(run: Run, state: dict[str, Any]) -> None:
    run.metrics.sync()
    write_bundle(run.directory.final, {"model": module_tensors(run.model)}, state)


def _take_best(run: Run) -> bool:
    """Goes back to the best validation; where its checkpoint is damaged, that is said and the last weights stay."""
    best = run.trainer.progress.best_checkpoint
    if best is None or best == f"{run.update:08d}":
        return best is not None
    try:
        groups, state = read_bundle(run.directory.checkpoints / best)
        with as_written(run.directory.checkpoints / best):
            run.trainer.restore(groups, state)
    except CheckpointError as error:
        run.say(f"the checkpoint of the best validation is damaged, the last weights take its place: {error}")
        return False
    return True


def load_final(run: Run) -> dict[str, Any]:
    """Takes the weights that an ended run reports.

    Returns:
        What plugins kept with them.

    Raises:
        CheckpointError: They are absent or damaged.
    """
    if not run.directory.final.is_dir():
        raise CheckpointError(f"{run.path}: training has not ended; continue it with `chainkit resume {run.path}`")
    groups, state = read_bundle(run.directory.final)
    with as_written(run.directory.final):
        kept, weights = {**state.get("plugins", {})}, str(state["weights"])
        progress = Progress(update=state["update"], epoch=state["epoch"])
        load_tensors(run.model, groups["model"])
    run.trainer.progress, run.weights, run.trained_on, run.finished = progress, weights, state.get("data"), True
    return kept
