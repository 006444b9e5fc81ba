"""Machines that nobody looks after: no terminal, no home, nothing writable, no network, another locale."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
from children import Ended, unprepared
from leavings import Whole
from study import Record, tally

import chainkit

PACKAGE = Path(chainkit.__file__).parents[1]
COLUMNS = 80
HOMES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "TORCH_HOME")
LOCALES = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "PYTHONUTF8", "PYTHONIOENCODING")


@attrs.frozen(kw_only=True)
class Machine:
    """Something that a machine lacks.

    Arguments:
        lacks: What, in words.
        before: Words before the command that make it so; they must be allowed to.
        unset: Environment variables to take away.
        environment: Those to set.
        closed: Whether standard input, output and error are closed.
        terminal: Whether output goes to a terminal of 80 columns.
    """

    lacks: str
    before: Sequence[str] = ()
    unset: Sequence[str] = ()
    environment: Mapping[str, str] = attrs.field(factory=dict)
    closed: bool = False
    terminal: bool = False

    def allowed(self) -> bool:
        """Whether this machine can be made to lack that."""
        return not self.before or (
            shutil.which(self.before[0]) is not None and subprocess.run([*self.before, "true"], capture_output=True).returncode == 0
        )

    def run(self, words: Sequence[str], output: Path) -> Ended:
        """Runs ``chainkit WORDS`` there.

        Arguments:
            words: The words of the command line.
            output: The file that takes what it writes.
        """
        kept = {name: value for name, value in os.environ.items() if name not in self.unset}
        environment = {**kept, "CHAINKIT_DISABLE_PLUGINS": "", **self.environment}
        command = [*self.before, sys.executable, "-m", "chainkit", *words]
        if self.closed:
            command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
        if self.terminal:
            return _on_terminal(command, environment)
        with output.open("wb") as file:
            code = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/"
            ).returncode
        return Ended(code, output.read_bytes().decode("latin-1"))


MACHINES = (
    Machine(lacks="a terminal"),
    Machine(lacks="standard streams", closed=True),
    Machine(lacks="a home directory", unset=HOMES, environment={"HOME": "/nonexistent"}),
    Machine(lacks="HOME and USER", unset=(*HOMES, "USER", "LOGNAME")),
    Machine(
        lacks="a writable package directory",
        before=["unshare", "-m", "sh", "-c", f'mount -o bind,ro {PACKAGE} {PACKAGE} && ! touch {PACKAGE}/x 2>/dev/null && exec "$@"', "sh"],
    ),
    Machine(lacks="UTF-8 (ASCII)", unset=LOCALES, environment={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    Machine(lacks="UTF-8 (Latin-1)", unset=LOCALES, environment={"LC_ALL": "C", "PYTHONIOENCODING": "latin-1:strict", "PYTHONUTF8": "0"}),
    Machine(lacks="more than 80 columns", terminal=True),
    Machine(lacks="a network", before=["unshare", "-n"]),
)


def machines(count: int, seed: int, folder: Path, method: str) -> Record:
    """Runs, with pictures, on the first ``count`` of these machines: each must leave what the undisturbed run leaves."""
    del seed  # nothing is drawn
    whole = Whole.of(method, folder, unprepared)
    chosen = [machine for machine in MACHINES[:count] if machine.allowed()]
    left_out = [machine.lacks for machine in MACHINES[:count] if machine not in chosen]

    def trials() -> Iterator[str]:
        for number, machine in enumerate(chosen):
            run = folder / f"run-{number}"
            ended = machine.run(whole.begin(run), run.with_suffix(".txt"))
            fault = whole.fault(run, ended) or _fault_of(machine, ended) or ("" if (run / "pictures").is_dir() else "nothing is drawn")
            yield fault and f"without {machine.lacks}: {fault}"

    return tally(trials(), without=[machine.lacks for machine in chosen], **({"not possible here": left_out} if left_out else {}))


def _fault_of(machine: Machine, ended: Ended) -> str:
    if "Traceback" in ended.said:
        return f"it says {ended.said[-1000:]}"
    bars = [line for line in re.split(r"[\r\n]+", ended.said) if line.startswith("[")]
    if machine.terminal and (not bars or max(map(len, bars)) > COLUMNS):
        return f"its bars of progress are {[len(bar) for bar in bars]} columns wide"
    return ""


def _on_terminal(command: Sequence[str], environment: Mapping[str, str]) -> Ended:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    kept = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(command, env=kept, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    said = b"".join(iter(_reading(ours), b""))
    os.close(ours)
    return Ended(process.wait(), said.decode("utf-8", errors="replace"))


def _reading(descriptor: int) -> Callable[[], bytes]:
    """Reads what is there; the end of the last process on a terminal shows itself as an error."""

    def read() -> bytes:
        try:
            return os.read(descriptor, 65536)
        except OSError:
            return b""

    return read
