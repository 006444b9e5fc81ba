"""From tables to config objects, strictly.

cattrs dispatches on types and collects the errors of a table or list with their places. This layer
adds what it lacks: no value is converted silently (``"10"`` is not 10, ``true`` is not 1, 1.9 is
not 1; an integer does stand for a number), numbers are finite, unknown keys are refused, nested
components are looked up in the registry, and every validator of a table runs, not only the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import attrs
import cattrs
from cattrs.cols import list_structure_factory, mapping_structure_factory
from cattrs.errors import AttributeValidationNote, ClassValidationError, IterableValidationError, IterableValidationNote

from chainkit.component import Part, Table
from chainkit.errors import PluginError, RecipeError
from chainkit.recipe.words import alternatives, hints, is_part, spelled, written
from chainkit.registry import Registry, suggest

Hook = Callable[[Any, Any], Any]
INT64 = range(-(2**63), 2**63)


def converter(registry: Registry) -> cattrs.Converter:
    """A converter that structures tables into config classes and looks components up.

    Arguments:
        registry: Where they are looked up.
    """
    made = cattrs.Converter(detailed_validation=True)
    for plain in (bool, str):
        made.register_structure_hook(plain, _exactly)
    made.register_structure_hook(int, _integer)
    made.register_structure_hook(float, _number)
    made.register_structure_hook(Path, lambda value, _: Path(_exactly(value, str)))
    made.register_structure_hook_func(lambda annotation: get_origin(annotation) is Literal, _literal)
    made.register_structure_hook_func(lambda annotation: len(alternatives(annotation)) > 1, lambda value, union: _union(made, value, union))
    made.register_structure_hook_factory(_is(list), lambda annotation: _guarded(list, list_structure_factory(annotation, made)))
    made.register_structure_hook_factory(_is(tuple), lambda annotation: _tuple(made, annotation))
    made.register_structure_hook_factory(_is(dict, Mapping), lambda annotation: _guarded(dict, mapping_structure_factory(annotation, made)))
    made.register_structure_hook_func(attrs.has, lambda value, config: _Config(made, config, value).build())
    made.register_structure_hook_func(is_part, lambda value, annotation: _part(made, registry, value, annotation))
    return made


def _is(*origins: type) -> Callable[[Any], bool]:
    return lambda annotation: (get_origin(annotation) or annotation) in origins


def _exactly(value: Any, wanted: type) -> Any:
    if type(value) is not wanted:
        raise ValueError(f"must be {spelled(wanted)}, not {written(value)}")
    return value


def _integer(value: Any, wanted: type) -> int:
    if _exactly(value, int) not in INT64:
        raise ValueError("must be an integer of 64 bits")
    return value


def _number(value: Any, wanted: type) -> float:
    number = float(value) if type(value) is int and value in INT64 else _exactly(value, float)
    if not math.isfinite(number):
        raise ValueError(f"must be finite, not {number}")
    return number


def _literal(value: Any, annotation: Any) -> Any:
    if not any(type(value) is type(option) and value == option for option in get_args(annotation)):
        raise ValueError(f"must be {spelled(annotation)}, not {written(value)}")
    return value


def _union(made: cattrs.Converter, value: Any, union: Any) -> Any:
    """The first alternative that takes the value; where none does, the errors inside the one of its shape."""
    nested = None
    for option in alternatives(union):
        try:
            return made.structure(value, option)
        except (ClassValidationError, IterableValidationError) as error:
            nested = error
        except ValueError:
            continue
    raise nested or ValueError(f"must be {spelled(union)}, not {written(value)}")


def _guarded(shape: type, hook: Hook) -> Hook:
    words = "a list" if shape is list else "a table"

    def structure(value: Any, annotation: Any) -> Any:
        if not isinstance(value, shape):
            raise ValueError(f"must be {words}, not {written(value)}")
        return hook(value, annotation)

    return structure


def _tuple(made: cattrs.Converter, annotation: Any) -> Hook:
    types = get_args(annotation)
    if len(types) == 2 and types[1] is Ellipsis:
        items = _guarded(list, list_structure_factory(list[types[0]], made))  # type: ignore[valid-type]
        return lambda value, _: tuple(items(value, list))

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if len(value) != len(types):
            raise ValueError(f"must be a list of {len(types)}, not of {len(value)}")
        results, errors = [], []
        for index, (item, wanted) in enumerate(zip(value, types, strict=True)):
            try:
                results.append(made.structure(item, wanted))
            except Exception as error:
                error.add_note(IterableValidationNote(f"item {index}", index, wanted))
                errors.append(error)
        if errors:
            raise IterableValidationError("items", errors, tuple)
        return tuple(results)

    return _guarded(list, structure)


def _part(made: cattrs.Converter, registry: Registry, value: Any, annotation: Any) -> Part:
    """A nested component: a table with ``type``, or the name alone."""
    kind = get_args(annotation)[1]
    table = {"type": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise ValueError(f"must be {spelled(annotation)}, not {written(value)}")
    try:
        name = _exactly(table["type"], str) if "type" in table else _missing_type(kind, registry)
        entry = registry.find(kind, name)
    except (ValueError, RecipeError) as error:
        raise ClassValidationError("type", [_noted(error, "type")], Part) from None
    plugin, colon, _ = name.rpartition(":")
    settings = {key: setting for key, setting in table.items() if key != "type"}
    config: Any = made.structure(settings, entry.component.config)
    named = plugin if colon else entry.plugin.id if registry.ambiguous(entry) else None
    return Part(kind=kind, component=entry.component, config=config, path="", plugin=named, provider=entry.plugin)


def _missing_type(kind: str, registry: Registry) -> str:
    names = dict.fromkeys(entry.component.name for entry in registry.entries(kind))
    raise ValueError(f"is missing: the name of {spelled(Annotated[Part, kind])}, one of {', '.join(names)}")


def _noted(error: Exception, key: str) -> Exception:
    error.add_note(AttributeValidationNote(f"key {key}", key, Any))
    return error


class _Config:
    """One table on its way to an instance of a config class.

    Arguments:
        made: Structures the values.
        config: The attrs class.
        table: The table.
    """

    def __init__(self, made: cattrs.Converter, config: type, table: Any) -> None:
        if not isinstance(table, dict):
            raise ValueError(f"must be a table, not {written(table)}")
        self.made, self.config, self.table = made, config, table
        self.fields = {field.name: field for field in attrs.fields(config) if field.init}
        self.values: dict[str, Any] = {}
        self.failed: set[str] = set()
        self.errors: list[Exception] = []

    def build(self) -> Any:
        """The instance, or all that is wrong with the table at once."""
        self._read()
        self._refuse_unknown_keys()
        self._validate()
        if self.errors:
            raise ClassValidationError(self.config.__name__, self.errors, self.config)
        return self.config(**{self.fields[name].alias: value for name, value in self.values.items()})

    def _read(self) -> None:
        types = hints(self.config)
        for name, field in self.fields.items():
            try:
                if name in self.table or isinstance(field.default, Table):
                    self.values[name] = self.made.structure(_amended(self.table.get(name), field.default), types[name])
                elif field.default is attrs.NOTHING:
                    raise ValueError(f"is missing: {spelled(types[name])}")
            except PluginError:  # no mistake of the recipe's
                raise
            except Exception as error:
                self.failed.add(name)
                self.errors.append(_noted(error, name))

    def _refuse_unknown_keys(self) -> None:
        for key in self.table.keys() - self.fields.keys():
            self.errors.append(_noted(ValueError(f"is an unknown key{suggest(key, list(self.fields)) or '; there are none here'}"), key))

    def _validate(self) -> None:
        """Runs every validator on an unfinished instance: validators may look at other fields."""
        draft: Any = object.__new__(self.config)
        for name, field in self.fields.items():
            if name not in self.failed:
                object.__setattr__(draft, name, self.values[name] if name in self.values else _default(field.default, draft))
        for name in [name for name in self.fields if name not in self.failed]:
            self._run(self.fields[name], draft)

    def _run(self, field: attrs.Attribute[Any], draft: Any) -> None:
        if field.validator is None:
            return
        try:
            field.validator(draft, field, getattr(draft, field.name))
        except AttributeError:
            if not self.failed:  # otherwise it looked at a field that has no value
                raise
        except (ValueError, TypeError) as error:
            self.errors.append(_noted(error, field.name))


def _default(default: Any, draft: Any) -> Any:
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return default.factory(draft) if default.takes_self else default.factory()
    return default


def _amended(value: Any, default: Any) -> Any:
    """A nested component's table; one without ``type`` amends the default."""
    if not isinstance(default, Table):
        return value
    if value is None:
        return dict(default.settings)
    if isinstance(value, dict) and "type" not in value:
        return {**default.settings, **value}
    return value
