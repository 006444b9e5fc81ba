"""New plugin packages.

``template/`` is a complete plugin named ``placeholder``, with one component of every kind; it is
linted and type-checked like any other code. A new package is that plugin under another name, without
the kinds that were not asked for. Its recipe takes what then is missing from ``shipped.toml``.
"""

from chainkit.scaffold.names import Names, check_free
from chainkit.scaffold.package import contents, write_package

__all__ = ["Names", "check_free", "contents", "write_package"]
