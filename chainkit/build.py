"""From a checked recipe to objects, in the order data, prior, process, operator, objective."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import attrs
import torch
from torch import nn

from chainkit.batch import Batch
from chainkit.blame import place
from chainkit.capabilities import NoiseLevel
from chainkit.chain import Chain
from chainkit.component import Context, Part, require
from chainkit.data import Data
from chainkit.distributed import own_device
from chainkit.errors import ChainkitError, Interrupted, PluginError, RecipeError, WrongPart
from chainkit.kernel import Kernel
from chainkit.objective import Loss, Objective
from chainkit.operator import TransitionOperator
from chainkit.process import ForwardProcess
from chainkit.random import Source, global_seed
from chainkit.recipe.parts import parts
from chainkit.recipe.schema import Recipe
from chainkit.schedule import Schedule

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


class Model(nn.Module):
    """All that is trained, as one module.

    Arguments:
        chain: The generative chain.
        process: The forward process.
        objective: The objective, with whatever parameters and state it owns.
        maker: What built the objective, for messages.
    """

    def __init__(self, chain: Chain, process: ForwardProcess, objective: Objective, maker: str = "the objective") -> None:
        super().__init__()
        self.chain = chain
        self.process = process
        self.objective = objective
        self.maker = maker

    def losses(self, batch: Batch, source: Source) -> Iterator[Loss]:
        """Streams the objective's losses of one batch.

        Arguments:
            batch: The examples.
            source: Where the random numbers come from.

        Raises:
            WrongPart: The objective gives something else.
        """
        stream = self.objective.losses(self.chain, self.process, batch, source=source)
        require(stream, Iterable, f"{self.maker} gave as losses")
        return map(self._loss, stream)

    def _loss(self, loss: Loss) -> Loss:
        require(loss, Loss, f"{self.maker} yielded")
        return loss


def choose_device(name: str) -> torch.device:
    """The device that a recipe means.

    Raises:
        RecipeError: There is no such device here.
    """
    if name == "auto":
        return own_device(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(f"device: {name!r} cannot be used here ({str(error).splitlines()[0]})") from error
    return own_device(device)


def build_part(part: Part, context: Context) -> Any:
    """Builds a part; whatever is wrong with it is said with its dotted key.

    Raises:
        RecipeError: The part does not go with these settings or with the parts built before it.
        PluginError: The component's code is at fault.
    """
    with _located(part):
        return part.make(context)


def build_optimizer(part: Part, context: Context) -> Callable[[list[nn.Parameter]], torch.optim.Optimizer]:
    """What makes an optimiser of parameters; an optimiser that is none is blamed on the component.

    Raises:
        RecipeError: As :func:`build_part`.
        PluginError: As :func:`build_part`.
    """
    make = build_part(part, context)

    def made(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = make(parameters)
        require(optimizer, torch.optim.Optimizer, f"{part.path}: {part.maker} made")
        return cast(torch.optim.Optimizer, optimizer)

    return made


@contextmanager
def _located(part: Part) -> Iterator[None]:
    try:
        yield
    except ChainkitError as error:
        if isinstance(error, (RecipeError, Interrupted)):
            raise
        raise type(error)(f"{part.path}: {error}") from error
    except (ValueError, NotImplementedError) as error:
        raise RecipeError(f"{part.path}: {error}") from error
    except TypeError as error:
        where = place(error, part.provider.module if part.provider else "")
        raise RecipeError(f"{part.path}: {error} ({', '.join(filter(None, (part.maker, where)))})") from error


def import_builders(recipe: Recipe) -> None:
    """Imports what builds the data and the model, before anything is seeded.

    A module that seeds or draws while it is imported would else change the initial weights, and only
    in the first run of a process.

    Raises:
        PluginError: A component cannot be imported, or a plugin has changed torch's default dtype, on
            which every number of a run depends.
    """
    for part in parts((recipe.data, recipe.chain, recipe.process, recipe.objective)):
        with _located(part), part.blamed():
            part.component.builder()
    if (dtype := torch.get_default_dtype()) != torch.float32:
        raise PluginError(f"torch's default dtype is {dtype}, which a plugin has changed; the precision of a run is train.precision")


def build_data(recipe: Recipe, device: torch.device) -> Data:
    """The dataset, on its device where it lies in memory.

    Raises:
        WrongPart: It lacks a capability that its component states.
    """
    part = recipe.data
    data: Data = build_part(part, Context())
    given = data.provided()
    for stated in part.component.provided(part.config) or ():
        if not any(issubclass(have, stated) for have in given):
            states = ", ".join(have.__name__ for have in given)
            raise WrongPart(f"{part.path}: {part.maker} states {stated.__name__}, and the data that it built is {states}")
    data.to(device, DTYPES[recipe.train.precision])
    return data


def chain_length(recipe: Recipe, data: Data, temperature: Schedule | None) -> int:
    """K, or where the recipe leaves it out, the steps that heat the stated noise up to the data's variance.

    ``K`` is the first step with ``T_K sigma^2 >= sigma_data^2`` (walkback paper, eqs. 4-5), where
    sigma_data^2 is the largest variance of an element of the training data.
    """
    config = recipe.chain.operator.config
    if recipe.chain.steps is not None:
        return recipe.chain.steps
    if temperature is None or not isinstance(config, NoiseLevel):
        raise RecipeError("chain.steps: missing, and it cannot be derived without a temperature schedule and a stated noise level")
    try:
        return temperature.steps_to_reach(float(data.summary.variance.max()) / config.noise_variance)
    except ValueError as error:
        raise RecipeError(f"chain.steps: missing, and it cannot be derived: {error}") from error


def build_model(recipe: Recipe, data: Data, device: torch.device) -> Model:
    """Chain, process and objective, initialised from the recipe's seed.

    Arguments:
        recipe: The recipe.
        data: The dataset.
        device: Where the parameters shall be.

    Raises:
        RecipeError: A part does not go with its settings or with the others, or a temperature is none.
        PluginError: The code of a component is at fault.
    """
    with global_seed(recipe.seed, "initial weights"):
        summary = data.summary
        on_host = attrs.evolve(summary, mean=summary.mean.cpu(), variance=summary.variance.cpu())
        context = Context(data=on_host)
        context = attrs.evolve(context, steps=recipe.chain.steps or 1)
        temperature = build_part(recipe.chain.temperature, context) if recipe.chain.temperature else None
        context = attrs.evolve(context, steps=chain_length(recipe, data, temperature))
        context = attrs.evolve(context, prior=build_part(recipe.chain.prior, context))
        context = attrs.evolve(context, process=build_part(recipe.process, context))
        context = attrs.evolve(context, operator=_held_to_kernels(recipe.chain.operator, context))
        with _located(recipe.chain.temperature) if recipe.chain.temperature else nullcontext():
            chain = Chain(context.prior, context.operator, context.steps, temperature=temperature, extend=recipe.chain.extend)
        objective = build_part(recipe.objective, context)
        model = Model(chain, context.process, objective, f"{recipe.objective.path}: {recipe.objective.maker}")
    return model.to(device, DTYPES[recipe.train.precision])


def _held_to_kernels(part: Part, context: Context) -> TransitionOperator:
    """The operator; an evaluation of it that gives no kernel is blamed on its component, whoever would trip over it."""
    operator: TransitionOperator = build_part(part, context)
    operator.register_forward_hook(partial(_require_kernel, f"{part.path}: {part.maker} gave"))
    return operator


def _require_kernel(words: str, operator: nn.Module, arguments: Any, kernel: Any) -> None:
    require(kernel, Kernel, words)
