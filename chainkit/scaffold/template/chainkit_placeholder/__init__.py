"""A plugin of chainkit; ``hooks`` is its contents page."""
