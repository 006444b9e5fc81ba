"""What can go wrong, and the exit code that each kind of trouble gives.

Every error that a user can cause is a :class:`ChainkitError`: the command line prints its message
on one line, without a traceback, and leaves with ``exit_code``. Any other exception that reaches
the command line is a bug of chainkit (or of a plugin) and leaves with 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ChainkitError(Exception):
    """Base of all expected errors. ``exit_code`` is what the command line leaves with."""

    exit_code = 1


class RecipeError(ChainkitError):
    """A recipe, an override or a command-line argument that cannot be used.

    Arguments:
        problems: One message per problem, each starting with the dotted key or the file that it
            is about. All problems of one recipe are reported together, each on a line of its own,
            whatever names it repeats.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(problem.replace("\n", r"\n") for problem in problems)
        super().__init__("\n".join(self.problems))


class PluginError(ChainkitError):
    """A plugin that cannot be loaded, or that broke its contract while running."""

    exit_code = 3


class WrongPart(PluginError):
    """A part that is not what its kind promises."""


class MissingPackage(PluginError):
    """A package that a component imports where it is used, and that cannot be imported."""


class DataError(ChainkitError):
    """Data that is absent, damaged or unfit; the message names the file and, where known, the index."""

    exit_code = 4


class CheckpointError(ChainkitError):
    """A run directory or checkpoint that is absent, damaged or does not fit the recipe."""

    exit_code = 4


class NonFiniteError(ChainkitError):
    """A loss, gradient, parameter or estimate that is not a finite number.

    Arguments:
        message: What is not finite, and where.
        report: The same as JSON data, where training was replayed to find out.
    """

    exit_code = 5

    def __init__(self, message: str, report: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.report = report


class RunBusyError(ChainkitError):
    """A run directory that another process holds."""

    exit_code = 6


class ProcessLostError(ChainkitError):
    """One of several processes of a run has ended or cannot be reached; the run can be resumed."""

    exit_code = 7


class Interrupted(ChainkitError):
    """A signal asked to stop; the run was saved first.

    Arguments:
        signal: The signal's number; the exit code is 128 + signal (130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP).
    """

    def __init__(self, signal: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.exit_code = 128 + signal

    def __reduce__(self) -> tuple[Any, ...]:
        return Interrupted, (self.exit_code - 128, str(self)), self.__dict__


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short, which is no fault of what was to be put there.

    Arguments:
        error: The error; of torch's, only CUDA's has a type of its own.
    """
    words = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or (isinstance(error, RuntimeError) and any(word in str(error) for word in words))
