"""What is known of a plugin: where it comes from, what it gave, and why it is missing if it is."""

from __future__ import annotations

from typing import Literal

import attrs


@attrs.define(kw_only=True)
class Plugin:
    """The record of one entry point of the group ``chainkit``.

    Arguments:
        name: Name of the entry point.
        id: ``name``, or ``name@distribution`` where two distributions use one name.
        distribution: The distribution that installed it; empty for an object registered by hand.
        version: Version of the distribution.
        module: The module that the entry point names.
        state: ``loaded``; ``broken``, its components and hooks withdrawn; ``disabled``; or ``absent``,
            not installed although a run was made with it.
        reason: Why it is not loaded.
        notes: What is wrong with it although it works.
        components: What it registered, as ``kind:name``.
        hooks: The hooks that it implements.
        seconds: How long it took to load.
    """

    name: str
    id: str
    distribution: str = ""
    version: str = ""
    module: str = ""
    state: Literal["loaded", "broken", "disabled", "absent"] = "loaded"
    reason: str | None = None
    notes: list[str] = attrs.field(factory=list)
    components: list[str] = attrs.field(factory=list)
    hooks: list[str] = attrs.field(factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        origin = f" of {self.distribution} {self.version}".rstrip() if self.distribution else ""
        return f"plugin {self.name}{origin}"

    @property
    def absence(self) -> str | None:
        """One line that says why its components are missing; None if they are not."""
        match self.state:
            case "loaded":
                return None
            case "broken":
                return f"{self} could not be loaded: {self.reason}"
            case "disabled":
                return f"{self} is disabled"
            case "absent":
                return f"the run was made with {self}, which is not installed"

    def answers_to(self, name: str) -> bool:
        """Whether a user who writes ``name`` means this plugin: its id, its name or its distribution."""
        return name in (self.id, self.name, self.distribution)
