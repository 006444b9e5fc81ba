"""What authors of plugins need to test them.

- :func:`tiny_chain` and :func:`tiny_data`: a chain whose p(x) is known exactly, for real and for
  binary states, and data for it;
- one check for each kind of component, a plain function that raises ``AssertionError`` and says
  where, what was expected and what was seen;
- :func:`check_component`, which builds a registered component from its ``example`` and applies the
  check of its kind;
- :func:`tiny_run`: a recipe, trained, sampled from and evaluated in a moment; its places can be
  filled with the tiny parts (``type = "tiny"``);
- :mod:`chainkit.testing.fixtures`, pytest fixtures: ``pytest_plugins = ["chainkit.testing.fixtures"]``.

Statistical checks have fixed seeds and allow five standard errors.
"""

from chainkit.testing.component import Unavailable, check_component
from chainkit.testing.dataset import check_dataset
from chainkit.testing.distribution import check_distribution
from chainkit.testing.estimator import check_estimator
from chainkit.testing.network import check_network
from chainkit.testing.objective import check_objective
from chainkit.testing.observer import check_observer
from chainkit.testing.operator import check_operator
from chainkit.testing.parts import TinyParts
from chainkit.testing.prior import check_prior
from chainkit.testing.process import check_process
from chainkit.testing.run import TINY_RECIPE, tiny_host, tiny_run
from chainkit.testing.schedule import check_schedule
from chainkit.testing.tiny import TinyChain, TinyOperator, TinyPrior, TinyProcess, tiny_chain, tiny_data
from chainkit.testing.training import check_decay, check_optimizer

__all__ = [
    "TINY_RECIPE",
    "TinyChain",
    "TinyOperator",
    "TinyParts",
    "TinyPrior",
    "TinyProcess",
    "Unavailable",
    "check_component",
    "check_dataset",
    "check_decay",
    "check_distribution",
    "check_estimator",
    "check_network",
    "check_objective",
    "check_observer",
    "check_operator",
    "check_optimizer",
    "check_prior",
    "check_process",
    "check_schedule",
    "tiny_chain",
    "tiny_data",
    "tiny_host",
    "tiny_run",
]
