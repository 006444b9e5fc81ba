"""Recipes that are wrong in every way: refused in words, and nothing else.

A recipe passes if ``chainkit check`` leaves with 0 or 2, without a traceback and without a control
character in what it says. One that is accepted must read back, with every default written out, as
itself.
"""

from __future__ import annotations

import io
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from unittest.mock import patch

import attrs
import tomli_w
from mutations import HOSTILE, spoilt_bytes, spoilt_override, spoilt_tables
from study import Record, tally
from toml_invalid import INVALID

from chainkit.cli import main
from chainkit.host import Host, load_plugins
from chainkit.recipe import read_recipe, resolved_text, shipped_recipes
from chainkit.recipe.settable import settable

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What moves a terminal's cursor, colours it or reverses its text; the end of a line is none of it."""


@attrs.frozen(kw_only=True)
class Spoilt:
    """A recipe, and what was done to it.

    Arguments:
        what: In words.
        content: The file.
        overrides: ``--set`` arguments.
    """

    what: str
    content: bytes
    overrides: Sequence[str] = ()


class Checker:
    """Applies ``chainkit check`` in this process, with the plugins loaded once.

    Arguments:
        folder: Where the recipes are written.

    Attributes:
        codes: How many left with which code.
    """

    def __init__(self, folder: Path) -> None:
        self.host: Host = load_plugins(strict=False)
        self.file = folder / "recipe.toml"
        self.codes: Counter[str] = Counter()

    def fault(self, spoilt: Spoilt) -> str:
        """What is wrong with how a recipe is taken; empty if nothing is."""
        self.file.write_bytes(spoilt.content)
        words = ["check", str(self.file), *(word for override in spoilt.overrides for word in ("--set", override))]
        said, printed = io.StringIO(), io.StringIO()
        with redirect_stderr(said), redirect_stdout(printed), patch("chainkit.cli.group.load_plugins", lambda **_: self.host):
            code = main(words)
        self.codes[str(code)] += 1
        if found := fault(code, printed.getvalue() + said.getvalue()):
            return found
        return "" if code else self._returns(spoilt)

    def _returns(self, spoilt: Spoilt) -> str:
        text = resolved_text(read_recipe(self.file, self.host.registry, spoilt.overrides))
        return "" if resolved_text(read_recipe(text, self.host.registry)) == text else "it does not read back as itself"


def fault(code: int, said: str) -> str:
    """What is wrong with how a command ended; empty if nothing is."""
    if "Traceback" in said or code not in (0, 2):
        return f"it leaves with {code}: {said[-300:]}"
    if found := CONTROL.search(said):
        return f"it prints {found[0]!r}"
    if code and not said.strip():
        return "it says nothing"
    return ""


class Source:
    """Spoilt recipes without end.

    Arguments:
        host: The loaded plugins, whose shipped recipes are spoilt.
    """

    def __init__(self, host: Host) -> None:
        self.texts = {shipped.name: shipped.path.read_bytes() for shipped in shipped_recipes(host)}
        self.tables = {name: tomllib.loads(text.decode()) for name, text in self.texts.items()}
        self.keys = {name: [key for key, _ in settable(read_recipe(text.decode(), host.registry))] for name, text in self.texts.items()}
        self.invalid = list(INVALID.items())

    def draw(self, random: Random) -> Spoilt:
        """One of them."""
        name = random.choice(list(self.texts))
        return random.choice([self._tables, self._tables, self._bytes, self._value, self._override, self._invalid])(random, name)

    def _tables(self, random: Random, name: str) -> Spoilt:
        return Spoilt(what=f"{name}, tables changed", content=spoilt_tables(random, self.tables[name]).encode("utf-8", "replace"))

    def _bytes(self, random: Random, name: str) -> Spoilt:
        return Spoilt(what=f"{name}, bytes changed", content=spoilt_bytes(random, self.texts[name]))

    def _value(self, random: Random, name: str) -> Spoilt:
        key, value = random.choice(self.keys[name]), random.choice(HOSTILE)
        overrides = [f"{key}={tomli_w.dumps({'a': value}).partition('=')[2].strip()}"]
        return Spoilt(what=f"{name}, {overrides[0][:80]}", content=self.texts[name], overrides=overrides)

    def _override(self, random: Random, name: str) -> Spoilt:
        overrides = [spoilt_override(random, self.keys[name]) for _ in range(random.choice((1, 1, 3)))]
        return Spoilt(what=f"{name}, {overrides[0][:80]}", content=self.texts[name], overrides=overrides)

    def _invalid(self, random: Random, name: str) -> Spoilt:
        fault, text = random.choice(self.invalid)
        before = random.random() < 0.5
        parts = [text.encode(), self.texts[name]] if before else [self.texts[name], b"\n[junk]\n", text.encode()]
        return Spoilt(what=f"{name}, not TOML: {fault}", content=b"\n".join(parts))


def recipes(count: int, seed: int, folder: Path, method: str) -> Record:
    """``count`` spoilt recipes: tables, bytes, values, overrides, and texts that are not TOML, in turn at random."""
    folder.mkdir(parents=True, exist_ok=True)
    checker = Checker(folder)
    source = Source(checker.host)

    def trials() -> Iterator[str]:
        for number in range(count):
            spoilt = source.draw(Random(f"{seed} {number}"))
            found = checker.fault(spoilt)
            yield found and f"seed {seed}, recipe {number}, {spoilt.what}: {found}"

    return tally(trials(), codes=checker.codes)
