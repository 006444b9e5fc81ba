"""What the parts of this plugin can do beyond the core's capabilities, as a type that recipes are checked by."""

from __future__ import annotations


class WalksAway:
    """Of a process: its walks go from data to noise, k = 1..K, and state log q of every step.

    Their transitions are of the type :class:`~chainkit_walkback.heated.HeatedTransition`.
    """
