"""Settings of the site: ``make docs`` builds it into ``docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "site_extensions"), str(DOCS.parent), str(DOCS.parent / "plugins")]

import chainkit  # noqa: E402

project = "chainkit"
author = "The chainkit authors"
project_copyright = author
version = release = chainkit.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # the pages are read without a network: MathJax and its fonts lie beside them
    "api_pages",
    "names_as_links",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"chainkit {release}"

myst_enable_extensions = ["amsmath", "attrs_inline", "dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# An annotation gives the short name of a class, which several packages may have.
suppress_warnings = ["ref.python"]
