"""Fixtures of chainkit's testing kit: ``run``, ``plugins``, ``tiny_chain``, ``tiny_data`` and ``device``."""

pytest_plugins = ["chainkit.testing.fixtures"]
