"""Turns names of the code on a page, such as ``chainkit.Chain`` between backticks, into links to the reference.

The pages stay plain Markdown, to be read on any forge. A name that the reference does not have is a warning.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_NAME = re.compile(r"chainkit(?:_\w+)?(?:\.\w+)+")


class NamesAsLinks(SphinxTransform):
    """Wraps each literal that is a dotted name into a reference that Sphinx resolves once it has read all pages."""

    default_priority = 500

    def apply(self, **options: Any) -> None:
        """Does so for one page."""
        for literal in list(self.document.findall(nodes.literal)):
            name = literal.astext().partition("(")[0]
            if not _NAME.fullmatch(name) or isinstance(literal.parent, (nodes.reference, pending_xref)):
                continue
            link = pending_xref("", refdomain="py", reftype="obj", reftarget=name, refdoc=self.env.docname, refwarn=True)
            literal.replace_self(link)
            link += literal


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_transform(NamesAsLinks)
    return {"parallel_read_safe": True}
