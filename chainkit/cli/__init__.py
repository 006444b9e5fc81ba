"""The command line: data on standard output, words on standard error, an exit code for each kind of trouble."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from click.shell_completion import add_completion_class

from chainkit.cli.complete import Bash
from chainkit.cli.failure import report
from chainkit.cli.group import CommandLine
from chainkit.cli.streams import open_closed_streams, outliving_terminal
from chainkit.interrupt import ending_on_signals, holding_signals

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Arguments:
        arguments: Those of the command line; the process's own unless given.

    Returns:
        The exit code: 0 done, 1 a bug of chainkit, 2 recipe or usage, 3 plugin, 4 checkpoint, data
        or file, 5 numbers that are not finite, 6 run directory in use, 7 another process of the run lost, 129, 130 or
        143 stopped by a signal.
    """
    group = CommandLine()
    add_completion_class(Bash)
    open_closed_streams()
    with outliving_terminal(), holding_signals():
        try:
            with ending_on_signals():
                result = group.main(args=None if arguments is None else list(arguments), prog_name="chainkit", standalone_mode=False)
                sys.stdout.flush()
        except BaseException as error:
            return report(error, group)
    return result if isinstance(result, int) else 0
