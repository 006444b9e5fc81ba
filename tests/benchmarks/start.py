"""How long the command line takes where torch is not needed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from measure import Row, Work, alternate

FULL = (("--help",), ("check", "infusion_digits"), ("plugins",))
TINY = FULL[:1]


def command(arguments: tuple[str, ...]) -> Work:
    """A function that runs chainkit's command line to its end."""
    program = Path(sys.executable).with_name("chainkit")
    whole = [str(program), *arguments]
    # An installed package has its bytecode kept; the calls before the first round keep it here.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return lambda: subprocess.run(whole, env=environment, check=True, capture_output=True)


def imports_torch(arguments: tuple[str, ...]) -> bool:
    """Whether the command imports torch."""
    code = f"import sys; from chainkit.cli import main; sys.argv = ['chainkit', *{list(arguments)}]\ntry: main()\n"
    code += "finally: sys.stderr.write('torch' if 'torch' in sys.modules else 'lean')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr.endswith("torch")


def rows(repeats: int, size: tuple[tuple[str, ...], ...] = FULL) -> Iterator[Row]:
    """The rows of this family.

    Arguments:
        repeats: Rounds of timing.
        size: The commands.
    """
    times = alternate({" ".join(arguments): command(arguments) for arguments in size}, rounds=repeats, calls=3)
    for arguments in size:
        name = " ".join(arguments)
        yield Row(
            name=f"chainkit {name}, torch {'imported' if imports_torch(arguments) else 'not imported'}",
            measured=1e3 * times.median(name),
            unit="ms",
            at_least=200,
            aim=130,
        )
