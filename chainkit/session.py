"""From a recipe to the end of its run: train, validate, save, report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs

from chainkit.build import build_part, choose_device
from chainkit.component import Context, Part
from chainkit.distributed import ALONE, current, lead, working_as
from chainkit.errors import ChainkitError, Interrupted, NonFiniteError, ProcessLostError
from chainkit.estimator import Estimate
from chainkit.files import write_text
from chainkit.host import Host
from chainkit.logged import watched
from chainkit.opening import prepare_run
from chainkit.plugin import Plugin
from chainkit.recipe import read_recipe, resolved_text
from chainkit.recipe.schema import ValidateTable
from chainkit.reporting import Reporter
from chainkit.run import SHOWN_STATES, Run
from chainkit.run_directory import RunDirectory, fresh_path
from chainkit.saving import conclude, restore, save_checkpoint, start_from
from chainkit.sharing import poll_together, require_same, require_shareable
from chainkit.surroundings import describe_environment, exactness, note_continuation
from chainkit.training import module_tensors
from chainkit.unfinished import estimated

LOG_EVERY = 50


def new_run(recipe: Path, path: Path | None, host: Host, *, overrides: Sequence[str] = (), reporter: Reporter | None = None) -> Run:
    """Makes the directory of a new run and builds it.

    Arguments:
        recipe: The recipe's file.
        path: The run directory to be; ``runs/NAME`` of the recipe's file, numbered, if None.
        host: The loaded plugins.
        overrides: ``key=value`` settings that replace those of the recipe.
        reporter: Who is told how it goes.

    Raises:
        ChainkitError: The recipe cannot be used, a part of it cannot be built, there are no weights to
            start from, or the directory exists; nothing is left behind then.
    """
    checked_recipe = read_recipe(recipe, host.registry, overrides)
    given, resolved = recipe.read_text(encoding="utf-8"), resolved_text(checked_recipe)
    computing = exactness(choose_device(checked_recipe.device))
    with ExitStack() as stack:

        def make() -> RunDirectory:
            environment = describe_environment(computing, host.versions(), list(overrides))
            folder = path or fresh_path(Path("runs"), recipe.stem)
            return stack.enter_context(RunDirectory.making(folder, given, resolved, environment))

        run = prepare_run(lead(make), host, reporter)
        if (start := run.recipe.train.start) is not None:
            start_from(run, start)
        return run


class Session:
    """Takes a run from where it stands to its end.

    Arguments:
        run: The run, as it was built; what its directory holds is restored under the run's lock.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.trainer = run.trainer
        self._started, self._first = time.monotonic(), 0
        self._said: str | None = None

    def complete(self) -> list[Estimate]:
        """Trains what is left to train, then samples and evaluates.

        Returns:
            The figures.

        Raises:
            Interrupted: A signal asked to stop; the run was saved and can be resumed.
            NonFiniteError: Training or a figure went wrong; the last checkpoint is sound.
            CheckpointError: There are checkpoints, and none is sound.
            RunBusyError: Another process holds the run.
        """
        run = self.run
        context = Context(data=run.data.summary, steps=run.chain.steps)
        observers = [(self._provenance(part), build_part(part, context)) for part in run.recipe.observers]
        with run.held(), run.host.observing(observers):
            try:
                self._restore()
                run.tell("chainkit_run_start")
                if not run.finished:
                    self._train()
                    poll_together()
                    conclude(run)
                lead(self._show_samples)
                figures = run.evaluate()
                run.tell("chainkit_estimates", estimates=figures)
                run.tell("chainkit_run_end")
            except BaseException as error:
                if current().leads:
                    with working_as(ALONE):
                        self._stopped(error)
                raise
        return figures

    def _show_samples(self) -> None:
        self.run.tell("chainkit_samples", samples=self.run.sample(keep_path=SHOWN_STATES))

    def _stopped(self, error: BaseException) -> None:
        """Says why the run stops, and what can be done."""
        self._tell(error)
        if isinstance(error, NonFiniteError) and error.report is not None:
            write_text(self.run.path / "nonfinite.json", json.dumps(error.report, indent=1))
        if isinstance(error, (Interrupted, ProcessLostError)):
            self.run.say(f"continue with `chainkit resume {self.run.path}`")

    def _provenance(self, part: Part) -> Plugin:
        """The record of an observer, named by its place in the recipe, of the distribution that provides it."""
        provider, name = self.run.host.registry.provider(part.component), f"{part.name} ({part.path})"
        return Plugin(name=name, id=name, distribution=provider.distribution, version=provider.version, module=provider.module)

    def _tell(self, error: BaseException) -> None:
        """Tells plugins that the run stops; what one of them raises then does not hide why."""
        try:
            self.run.host.call("chainkit_run_error", run=self.run, error=error)
        except ChainkitError as second:
            self.run.say(f"while the run stopped: {second}")

    def _restore(self) -> None:
        run = self.run
        restored = restore(run)
        if run.finished:
            run.say(f"{run.path} is trained ({run.weights}); sampling and evaluating it")
        elif restored:
            run.say(f"continuing {run.path} at update {run.update} of {self.trainer.total_updates}")
        else:
            run.say(f"training from the start, {self.trainer.total_updates} updates")
        computing = exactness(run.device)
        if not run.finished and (changed := lead(lambda: note_continuation(run.path, run.update, computing))):
            run.say(f"it goes on, but not bit for bit as it would have: {'; '.join(changed)}")
        self._started, self._first = time.monotonic(), run.update

    @property
    def _epoch_open(self) -> bool:
        return self.trainer.progress.closed < self.trainer.progress.epoch

    def _train(self) -> None:
        run = self.run
        self._require_shareable()
        try:
            going = True
            while going:
                if self._epoch_open:  # as it is, too, where a run was stopped before it was closed
                    self._close_epoch()
                for loss in self.trainer.epoch_updates():
                    self._after_update(loss)
                going = self._epoch_open or not self.trainer.done
        except Interrupted:
            save_checkpoint(run)
            raise
        if self.trainer.progress.losses:
            self._log()
        lead(self._save_last)

    def _save_last(self) -> None:
        update = self.trainer.progress.update
        if update > self._first and not (self.run.directory.checkpoints / f"{update:08d}").is_dir():
            save_checkpoint(self.run)

    def _require_shareable(self) -> None:
        settings, size = self.trainer.settings, len(self.run.data.split("train"))
        keys = {"train.batch_size": settings.batch_size, "train.statistics_examples": settings.statistics_examples}
        require_shareable(self.run.model, {key: min(rows, size) for key, rows in keys.items()})
        require_same(module_tensors(self.run.model), "before training")

    def _after_update(self, loss: float) -> None:
        progress, total = self.trainer.progress, self.trainer.total_updates
        if progress.update % LOG_EVERY == 0:
            self._log()
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = (progress.update - self._first) / seconds
        left = (total - progress.update) / rate
        examples = rate * self.trainer.settings.batch_size * self.trainer.settings.accumulate
        self.run.reporter.progress(
            progress.update, total, f"epoch {progress.epoch + 1}, loss {loss:.4g}, {examples:.0f} examples/s, {left:.0f} s left"
        )
        self._say_why_ungraphed()
        if progress.update == self._first + 1:
            require_same(module_tensors(self.run.model), "after an update")
        poll_together()

    def _say_why_ungraphed(self) -> None:
        why_not = self.trainer.recording.why_not
        if self.trainer.settings.graph and why_not != self._said:
            self.run.say(f"train.graph: no graph is used: {why_not}")
            self._said = why_not

    def _log(self, **figures: float) -> None:
        progress, run = self.trainer.progress, self.run
        where = {"update": progress.update, "epoch": progress.epoch, "rate": self.trainer.optimisers.rate()}
        metrics = {**progress.take(), **where, **figures}
        lead(lambda: run.metrics.append(metrics))
        run.tell("chainkit_step_end", metrics=metrics)

    def _close_epoch(self) -> None:
        """Validates, draws and saves; stopped in the middle, it leaves nothing behind and is done again on resume."""
        run, recipe, epoch = self.run, self.run.recipe, self.trainer.progress.epoch
        progress, size = attrs.evolve(self.trainer.progress), run.metrics.size()
        try:
            improved = recipe.validate is not None and epoch % recipe.validate.every == 0 and self._validate(recipe.validate)
            if recipe.sample.every is not None and epoch % recipe.sample.every == 0:
                self._draw()
        except Interrupted:
            self.trainer.progress = progress
            lead(lambda: run.metrics.cut(size))
            raise
        self.trainer.progress.closed = epoch
        run.tell("chainkit_epoch_end")
        if improved or epoch % recipe.train.checkpoint_every == 0 or self.trainer.done:
            save_checkpoint(run)

    def _draw(self) -> None:
        self.run.recompute_statistics(self.trainer.reported)
        lead(self._show_samples_so_far)

    def _show_samples_so_far(self) -> None:
        run, trained = self.run, self.run.model
        run.model = self.trainer.reported
        try:
            samples = run.sample(keep_path=SHOWN_STATES)
        finally:
            run.model = trained
        run.tell("chainkit_samples", samples=samples)

    def _validate(self, table: ValidateTable) -> bool:
        """Estimates the figures to watch; true if the one that decides is the best so far."""
        run, progress = self.run, self.trainer.progress
        model = self.trainer.reported
        run.recompute_statistics(model)
        examples = run.data.examples(table.split, table.examples, seed=run.recipe.seed, device=run.device)
        context = Context(data=run.data.summary, steps=run.chain.steps)
        found = [estimated(part, build_part(part, context), model, examples) for part in table.estimators]
        improved, patience = progress.judge(found[0].merit), self.trainer.settings.patience
        progress.stopped = patience is not None and progress.stale >= patience
        self._log(**watched(table.split, found))
        for place, estimate in enumerate(found):
            best = " (best so far)" if improved and place == 0 else ""
            said = f"{estimate.name} on {len(examples)} {table.split} examples {estimate.value:.2f} {estimate.unit}{best}"
            run.say(f"epoch {progress.epoch}: {said}")
        return improved
