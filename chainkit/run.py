"""A run: a recipe, its directory, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import attrs
import torch

from chainkit.build import Model, build_data, build_model, build_optimizer, build_part, choose_device, import_builders
from chainkit.chain import Chain, Clamp, Samples
from chainkit.component import Context, Part
from chainkit.data import Data, Examples
from chainkit.distributed import current, lead
from chainkit.errors import DataError, RecipeError
from chainkit.estimator import Estimate, Estimator
from chainkit.evaluation import read_evaluation, to_json, write_evaluation
from chainkit.fingerprint import fingerprint
from chainkit.host import Host
from chainkit.memory import keep_freed_memory
from chainkit.metrics import MetricsLog
from chainkit.optimisation import Optimisers, parameter_sets
from chainkit.process import ForwardProcess
from chainkit.provenance import changed_versions
from chainkit.random import seeded
from chainkit.recipe.parts import model_parts
from chainkit.recipe.schema import Recipe
from chainkit.recipe.write import unstructure
from chainkit.reporting import Reporter
from chainkit.run_directory import RunDirectory
from chainkit.run_record import RunRecord, read_environment, read_record
from chainkit.states import map_state
from chainkit.statistics import recompute_statistics
from chainkit.training import Trainer
from chainkit.unfinished import Unfinished
from chainkit.views import Views

SHOWN_STATES = 61
"""States of a way that hooks are given at most: 60 intervals, in which 6 or 16 states lie evenly, too."""


class Run:
    """A run, built and ready to train, to sample from and to evaluate.

    Arguments:
        directory: Its files.
        recipe: The recipe.
        host: The loaded plugins.
        reporter: Who is told how it goes.

    Raises:
        ChainkitError: A part cannot be built, or the end of the run, with its samples and figures,
            would fail for a reason that is known before training.

    Attributes:
        data: The dataset; ``run.data("test")`` gives examples to estimate on.
        finished: Whether training is over, so that the model holds the weights that are reported.
        weights: Which weights the model holds, in words.
        figures: Those of the newest evaluation, as far as it came.
        trained_on: Fingerprint of the training data of ended training, where it is known.
    """

    def __init__(self, directory: RunDirectory, recipe: Recipe, host: Host, reporter: Reporter | None = None) -> None:
        self.directory = directory
        self.path = directory.path
        self.recipe = recipe
        self.host = host
        self.reporter = reporter or Reporter()
        self.device = choose_device(recipe.device)
        keep_freed_memory()
        import_builders(recipe)
        self.data: Data = build_data(recipe, self.device)
        self.model: Model = build_model(recipe, self.data, self.device)
        self.metrics = MetricsLog(directory.metrics)
        self.finished = False
        self.weights = "initial weights"
        self.trained_on: str | None = None
        self.figures: list[Estimate] = []
        self._is_held = False
        self.trainer = self._trainer()
        if not directory.final.is_dir():
            self._rehearse()

    def __repr__(self) -> str:
        made = f"{self.chain.steps} steps of {self.recipe.chain.operator.name} on {self.data.name}, process {self.recipe.process.name}"
        return f"<Run {self.path}: {self.recipe.title or self.path.name}; {made}; {self.weights}>"

    @property
    def record(self) -> RunRecord:
        """What its directory tells by now: settings, versions, logged metrics, figures and pictures."""
        return read_record(self.path)

    @property
    def show(self) -> Views:
        """What plugins can show of it, as methods: ``run.show.chain()``."""
        return Views(self)

    @property
    def chain(self) -> Chain:
        """The generative chain."""
        return self.model.chain

    @property
    def process(self) -> ForwardProcess:
        """The forward process."""
        return self.model.process

    @property
    def update(self) -> int:
        """Updates done."""
        return self.trainer.progress.update

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.trainer.progress.epoch

    def say(self, line: str) -> None:
        """One line to whoever watches."""
        self.reporter.say(line)

    def tell(self, hook: str, **arguments: Any) -> None:
        """Calls a hook of the plugins, in one process.

        Arguments:
            hook: Name of the hook.
            arguments: Its arguments beside ``run``.
        """
        lead(lambda: self.host.call(hook, run=self, **arguments) and None)

    def _trainer(self) -> Trainer:
        settings, context = self.recipe.train, Context(data=self.data.summary, steps=self.chain.steps)
        sets = parameter_sets(self.model, self.model.objective.parameter_sets())
        if unknown := sorted(set(settings.optimizers) - set(sets)):
            known = f"{self.recipe.objective.name} has no such set of parameters, only {', '.join(sets)}"
            raise RecipeError(*(f"train.optimizers.{name}: {known}" for name in unknown))
        chosen = {name: settings.optimizers.get(name, settings.optimizer) for name in sets}
        optimisers = Optimisers(sets, {name: build_optimizer(part, context) for name, part in chosen.items()}, settings.clip_norm)
        decay = {} if settings.decay is None else {"decay": build_part(settings.decay, context)}
        steady = all(part.component.steady for part in model_parts(self.recipe))
        return Trainer(self.model, self.data, settings, optimisers, seed=self.recipe.seed, device=self.device, steady=steady, **decay)

    def _rehearse(self) -> None:
        """Makes sure, while there is training to lose, that what follows it can be done."""
        self.check_steps(self.recipe.sample.steps, "sample.steps")
        context = Context(data=self.data.summary, steps=self.chain.steps)
        tables = {"validate": self.recipe.validate, "evaluate": self.recipe.evaluate}
        for key, table in tables.items():
            if table is None or not table.estimators:
                continue
            if table.split not in self.data.splits:
                raise RecipeError(f"{key}.split: {self.data.name} has no {table.split} split, only {', '.join(self.data.splits)}")
            examples = self.data.examples(table.split, table.examples, device=self.device)
            for part in table.estimators:
                self._estimator(part, context, examples)

    def _estimator(self, part: Part, context: Context, examples: Examples) -> Estimator:
        """The estimator of a recipe's table.

        Raises:
            RecipeError: It cannot be made of this chain and data.
        """
        estimator: Estimator = build_part(part, context)
        try:
            estimator.check(self.chain, examples)
        except (ValueError, DataError) as error:
            raise RecipeError(f"{part.path}: {error}") from error
        return estimator

    def check_steps(self, steps: int | None, key: str) -> None:
        """Makes sure that the chain can be sampled with so many steps.

        Arguments:
            steps: N; None is the trained K.
            key: Where the number comes from, for the message.

        Raises:
            RecipeError: It cannot.
        """
        try:
            self.chain.plan(self.chain.steps if steps is None else steps)
        except ValueError as error:
            raise RecipeError(f"{key}: {error}") from error

    def recompute_statistics(self, model: Model) -> None:
        """Recomputes a model's normalisation statistics on walks of training examples."""
        examples = self.data.examples("train", self.recipe.train.statistics_examples, seed=self.recipe.seed, device=self.device)
        group = current()
        part, source = group.part(len(examples)), group.source(seeded(self.device, self.recipe.seed, "statistics"), len(examples))
        batch = self.data.batch("train", examples.index[part.start : part.stop], source, self.device)
        recompute_statistics(model.chain, model.process, batch, source=source)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the run's directory for the processes that work on it; within another such context it is held already.

        Raises:
            RunBusyError: Another process holds it.
        """
        with ExitStack() as stack:
            if not self._is_held:
                lead(lambda: stack.enter_context(self.directory.locked()))
                self._is_held = True
                stack.callback(setattr, self, "_is_held", False)
            yield

    def sample(
        self,
        n: int | None = None,
        *,
        steps: int | None = None,
        condition: Any = None,
        clamp: Clamp | None = None,
        seed: int = 0,
        keep_path: bool | int = True,
    ) -> Samples:
        """Draws samples, on the CPU; a conditional chain takes what its data offers (``Data.conditions``) unless conditioned.

        Arguments:
            n: How many; the recipe's number unless given.
            steps: Number of sampling steps; the recipe's unless given.
            condition: What to condition on, one row per sample.
            clamp: What to hold in place (``chainkit.hold``).
            seed: Seed of the draws.
            keep_path: Whether to keep every state on the way; a number, 2 or more, is how many at most, evenly over the steps.

        Raises:
            ValueError: ``n`` or ``steps`` below 1, fewer than 2 states of the way, or the chain does not allow this number of steps.
        """
        n = self.recipe.sample.n if n is None else n
        condition = self.data.conditions(n, self.device) if condition is None else condition
        samples = self.chain.sample(
            n,
            steps=self.recipe.sample.steps if steps is None else steps,
            condition=condition,
            clamp=clamp,
            source=seeded(self.device, seed, "samples"),
            keep_path=keep_path,
        )
        mean = None if samples.mean is None else map_state(torch.Tensor.cpu, samples.mean)
        path = [map_state(torch.Tensor.cpu, state) for state in samples.path]
        return attrs.evolve(samples, state=map_state(torch.Tensor.cpu, samples.state), mean=mean, path=path)

    def evaluate(
        self,
        estimators: Sequence[Part] | None = None,
        *,
        split: str | None = None,
        examples: int | None = None,
        seed: int | None = None,
    ) -> list[Estimate]:
        """Applies estimators to the model and adds their figures to ``evaluation.json``.

        What a signal stops is taken up by the next evaluation of the same figures, which gives
        the numbers that one without a stop gives.

        Arguments:
            estimators: The recipe's unless given.
            split: The recipe's unless given.
            examples: How many; the recipe's unless given.
            seed: The recipe's unless given.

        Raises:
            NonFiniteError: A figure is not a finite number.
            RunBusyError: Another process holds the run.
            ValueError: ``examples`` below 1.
        """
        table = self.recipe.evaluate
        parts = table.estimators if estimators is None else estimators
        self.figures = []
        if not parts:
            return []
        n = table.examples if examples is None else examples
        if n is not None and n < 1:
            raise ValueError(f"at least one example is estimated on, not {n}")
        chosen = self.data.examples(
            table.split if split is None else split, n, seed=table.seed if seed is None else seed, device=self.device
        )
        with self.held():
            return self._estimates(parts, chosen)

    def _estimates(self, parts: Sequence[Part], chosen: Examples) -> list[Estimate]:
        lead(lambda: read_evaluation(self.directory.evaluation) and None)  # damaged, it is said before anything is estimated
        context = Context(data=self.data.summary, steps=self.chain.steps)
        told_by = {split: fingerprint(self.data, split) for split in {"train", chosen.split}}
        if self.trained_on not in (None, told_by["train"]):
            self.say(f"{self.data.name} holds other training data than the run was trained on; figures that use any use this")
        changed = changed_versions(read_environment(self.path).plugins, self.host.plugins)
        unfinished = Unfinished(self.directory.evaluating, self.model, chosen, self.host.versions(), told_by)
        for part, estimator in [(part, self._estimator(part, context, chosen)) for part in parts]:
            self.say(f"estimating {part.name} on {len(chosen)} {chosen.split} examples")
            figure = unfinished.once(part, estimator)
            self.figures.append(attrs.evolve(figure, warnings=(*figure.warnings, *changed)))
            record = to_json(self.figures[-1], self.weights, unstructure(part), told_by[chosen.split])
            lead(partial(write_evaluation, self.directory.evaluation, [record]))
        unfinished.close()
        return self.figures
