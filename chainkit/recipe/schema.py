"""What a recipe may say: the tables and keys, their types, ranges and defaults.

These classes are the reference of the recipe format. They do not import torch.
"""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import field

from chainkit.component import (
    DatasetPart,
    DecayPart,
    EstimatorPart,
    ObjectivePart,
    ObserverPart,
    OperatorPart,
    OptimizerPart,
    PriorPart,
    ProcessPart,
    SchedulePart,
)
from chainkit.config import above, at_least, below


@attrs.frozen(kw_only=True)
class ChainTable:
    """``[chain]``: the generative chain.

    Arguments:
        steps: K, the number of trained steps, 1 or more. May be left out where the operator states
            its noise level and the temperature rises (walkback paper, eqs. 4-5).
        temperature: Schedule of T_k; left out, T_k = 1.
        prior: p*(s_K).
        operator: p(s_{k-1} | s_k).
        extend: What sampling with another number of steps does: ``refuse`` it, repeat steps at the
            ``data-end``, add hotter ones at the ``noise-end``, or ``respace`` fewer ones.
    """

    steps: int | None = field(default=None, validator=at_least(1))
    temperature: SchedulePart | None = None
    prior: PriorPart
    operator: OperatorPart
    extend: Literal["refuse", "data-end", "noise-end", "respace"] = "refuse"


@attrs.frozen(kw_only=True)
class TrainTable:
    """``[train]``: how the operator is fitted.

    Arguments:
        start: Directory of an ended run; training starts from the weights that it reports, of a chain
            and a process with the same parameters. Left out, from fresh ones.
        epochs: Passes over the training split, 0 or more, in whole batches: the few examples that are left over wait for another pass.
        max_updates: Stop after so many updates, also within an epoch; with one update per step,
            those of one walk count as one.
        batch_size: Examples per batch, 1 or more.
        optimizer: The optimiser.
        optimizers: Further optimisers, by the name of the parameter set that an objective owns; a
            set without one uses a second instance of ``optimizer``.
        decay: Schedule of the learning rate; left out, it stays constant.
        update: One optimiser update per ``walk`` or one per ``step`` of a walk.
        accumulate: Batches whose gradients are added up for one update; only with one update per walk.
        clip_norm: Largest allowed norm of the gradient, above 0; left out, no clipping.
        ema: Decay of the exponential moving average of the weights, in [0, 1); left out, none is kept.
            Where it is kept, figures and samples use it.
        precision: ``float32``, ``bfloat16`` (autocast) or ``float64``, of training; figures are
            float32, or float64 if so.
        matmul: How float32 products are made while training, ``torch.set_float32_matmul_precision``:
            ``highest``, ``high`` or ``medium``; the lower two round inputs where the machine is faster so.
        graph: Whether the operations of an update are recorded once and done again without the Python between
            them, on a GPU as a CUDA graph, which pays where many small ones follow each other; the numbers
            are the same, bit by bit on a CPU. Where it cannot be, or where an attribute of the model changes
            between updates, a line says why and nothing else changes; Python that decides by anything else,
            such as a global variable, decides once. Left out, it is done on a CPU where every part of the
            model states that it is steady, 1000 updates or more are left, and one takes at most 5000 operations and 2 s.
        patience: Stop when the validation figure has not improved for so many validations.
        statistics_examples: Training examples on which normalisation statistics are recomputed.
        checkpoint_every: Epochs between checkpoints, 1 or more.
        checkpoints: How many checkpoints to keep, beside the best one.
    """

    start: str | None = None
    epochs: int = field(default=10, validator=at_least(0))
    max_updates: int | None = field(default=None, validator=at_least(1))
    batch_size: int = field(default=128, validator=at_least(1))
    optimizer: OptimizerPart
    optimizers: dict[str, OptimizerPart] = field(factory=dict)
    decay: DecayPart | None = None
    update: Literal["walk", "step"] = "walk"
    accumulate: int = field(default=1, validator=at_least(1))
    clip_norm: float | None = field(default=None, validator=above(0))
    ema: float | None = field(default=None, validator=[at_least(0), below(1)])
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    matmul: Literal["highest", "high", "medium"] = "highest"
    graph: bool | None = None
    patience: int | None = field(default=None, validator=at_least(1))
    statistics_examples: int = field(default=10_000, validator=at_least(2))
    checkpoint_every: int = field(default=1, validator=at_least(1))
    checkpoints: int = field(default=2, validator=at_least(1))


@attrs.frozen(kw_only=True)
class ValidateTable:
    """``[validate]``: the figures that are watched while training.

    Arguments:
        estimator: What to estimate; the highest value is the best.
        also: What else to estimate then, for the curves of training; it decides nothing.
        every: Epochs between validations, 1 or more.
        split: Which split.
        examples: How many examples of it, 1 or more; where it has no more than that, all.
    """

    estimator: EstimatorPart
    also: list[EstimatorPart] = field(factory=list)
    every: int = field(default=1, validator=at_least(1))
    split: Literal["train", "valid", "test"] = "valid"
    examples: int = field(default=1000, validator=at_least(1))

    @property
    def estimators(self) -> list[EstimatorPart]:
        """All of them, the one that decides first."""
        return [self.estimator, *self.also]


@attrs.frozen(kw_only=True)
class SampleTable:
    """``[sample]``: what is drawn at the end, and on the way.

    Arguments:
        n: Number of samples.
        steps: N, the number of sampling steps; left out, the trained K.
        every: Epochs between samples while training; left out, only at the end.
    """

    n: int = field(default=64, validator=at_least(1))
    steps: int | None = field(default=None, validator=at_least(1))
    every: int | None = field(default=None, validator=at_least(1))


@attrs.frozen(kw_only=True)
class EvaluateTable:
    """``[evaluate]``: the figures at the end.

    Arguments:
        estimators: What to estimate.
        split: On which split.
        examples: How many examples of it; left out, all.
        seed: Seed of the choice of examples and of all draws.
    """

    estimators: list[EstimatorPart] = field(factory=list)
    split: Literal["train", "valid", "test"] = "test"
    examples: int | None = field(default=None, validator=at_least(1))
    seed: int = field(default=0, validator=at_least(0))


@attrs.frozen(kw_only=True)
class Recipe:
    """A recipe.

    Arguments:
        title: One line that says what the recipe is, and which table or figure it stands for.
        plugins: The only plugins that may provide its components; left out, all that are loaded.
        seed: Seed of everything that is random in training, 0 or more.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        data: The dataset.
        chain: The generative chain.
        process: The forward process.
        objective: The objective.
        train: How to train.
        validate: What to watch while training; left out, nothing.
        sample: What to draw.
        evaluate: What to estimate at the end.
        observers: What else watches the run, such as TensorBoard.
    """

    title: str = ""
    plugins: list[str] | None = None
    seed: int = field(default=0, validator=at_least(0))
    device: str = "auto"
    data: DatasetPart
    chain: ChainTable
    process: ProcessPart
    objective: ObjectivePart
    train: TrainTable
    validate: ValidateTable | None = None
    sample: SampleTable = field(factory=SampleTable)
    evaluate: EvaluateTable = field(factory=EvaluateTable)
    observers: list[ObserverPart] = field(factory=list)
