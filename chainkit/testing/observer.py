"""Observers: lifecycle hooks that exist, on a run that they do not change, also one that stops and is resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import attrs
import pluggy

from chainkit import contract, hookspecs
from chainkit.bundle import read_bundle
from chainkit.component import Component
from chainkit.errors import Interrupted, PluginError
from chainkit.hookspecs import hookimpl
from chainkit.host import Host
from chainkit.opening import prepare_run
from chainkit.reporting import Reporter
from chainkit.run_directory import RunDirectory
from chainkit.session import Session, new_run
from chainkit.testing.expect import expect
from chainkit.testing.parts import TinyParts
from chainkit.testing.run import TINY_RECIPE

RECIPE = TINY_RECIPE.replace("max_updates = 2", "max_updates = 4")
WATCHED = f'{RECIPE}observers = [{{ type = "watched" }}]\n'


@attrs.frozen(kw_only=True)
class Watched:
    """The observer that is checked; it takes no settings."""


class Stopping(Reporter):
    """Says nothing, and stops a run after an update as a signal does.

    Arguments:
        stop: The update; None stops nothing.
    """

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop

    def say(self, line: str) -> None:
        """Says nothing."""

    def progress(self, done: int, total: int, words: str) -> None:
        if done == self.stop:
            raise Interrupted(SIGTERM)


def check_observer(observer: object, *, where: str = "observer") -> None:
    """Checks an observer, also on a tiny run that is stopped and resumed.

    Arguments:
        observer: The observer.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what the hook ``chainkit_observers`` promises.
    """
    check_observers(lambda: observer, where=where)


def check_observers(make: Callable[[], object], *, where: str = "observer") -> None:
    """Checks an observer that is made anew for each process, as a recipe's observers are.

    Arguments:
        make: Makes it.
        where: Name for messages.

    Raises:
        AssertionError: It breaks what the hook ``chainkit_observers`` promises.
    """
    try:
        _check_form(make(), where)
        with TemporaryDirectory() as plain, TemporaryDirectory() as whole, TemporaryDirectory() as stopped:
            _train(Path(plain), RECIPE, make)
            _train(Path(whole), WATCHED, make)
            _train(Path(stopped), WATCHED, make, stop=2)
            expected = _weights(Path(plain))
            for folder, words in ((whole, "watched"), (stopped, "watched, stopped and resumed")):
                expect(_weights(Path(folder)) == expected, f"{where}, a run that is {words}", "the weights of one that is not", "others")
    except (PluginError, pluggy.PluginValidationError) as error:
        raise AssertionError(f"{where}: expected hooks that work, seen {error}") from error


def _check_form(observer: object, where: str) -> None:
    manager = pluggy.PluginManager("chainkit")
    manager.add_hookspecs(hookspecs)
    contract.check_marks(observer)
    manager.register(observer)
    callers = manager.get_hookcallers(observer) or []
    contract.check_hooks(callers)
    lifecycle = [caller.name for caller in callers if not contract.registers(caller.name)]
    expect(bool(lifecycle), where, "a lifecycle hook or more", "none")


def _train(folder: Path, text: str, make: Callable[[], object], stop: int | None = None) -> None:
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    run = new_run(folder / "recipe.toml", folder / "run", _host(make), reporter=Stopping(stop))
    try:
        Session(run).complete()
    except Interrupted:
        Session(prepare_run(RunDirectory(folder / "run"), _host(make), Stopping())).complete()


def _host(make: Callable[[], object]) -> Host:
    host = Host(strict=True)
    host.add(TinyParts(), "tiny")
    component = Component(name="watched", config=Watched, build=lambda config, context: make())
    host.add(SimpleNamespace(chainkit_api=TinyParts.chainkit_api, chainkit_observers=hookimpl(lambda: [component])), "watching")
    return host


def _weights(folder: Path) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in read_bundle(folder / "run" / "final")[0]["model"].items()}
