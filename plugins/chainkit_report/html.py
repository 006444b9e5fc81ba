"""HTML that is escaped by construction: every text is, unless an element was made of it."""

from __future__ import annotations

from html import escape
from pathlib import Path

STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a page may load: pictures inside it and its own style, so that opening it sends nothing anywhere."""

VOID = ("img", "link", "meta")


class Html(str):
    """Text that is markup."""

    __slots__ = ()


def markup(content: str) -> Html:
    """Markup as it is, and text escaped."""
    return content if isinstance(content, Html) else Html(escape(content))


def joined(*contents: str) -> Html:
    """Markup and text, one after the other."""
    return Html("".join(map(markup, contents)))


def element(tag: str, *contents: str, **attributes: str | int) -> Html:
    """An element.

    Arguments:
        tag: Its name.
        contents: Markup, or text, which is escaped.
        attributes: Their values are escaped. An underscore at the end of a name is dropped
            (``class_``), others are dashes (``aria_label``).
    """
    given = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for name, value in attributes.items())
    return Html(f"<{tag}{given}>" if tag in VOID else f"<{tag}{given}>{joined(*contents)}</{tag}>")


def section(title: str, *contents: str) -> Html:
    """A section with a heading of the second level, which the page's contents link to."""
    return element("section", element("h2", title), *contents, id=anchor(title))


def anchor(title: str) -> str:
    """The id of a section: its title in small letters, with dashes."""
    return "-".join(title.lower().split())


def listed(lines: list[str]) -> Html:
    """A list; nothing where there are no lines."""
    return element("ul", *[element("li", line) for line in lines]) if lines else Html()


def folded(title: str, *contents: str) -> Html:
    """Contents that are shown when asked for."""
    return element("details", element("summary", title), *contents)


def page(title: str, introduction: str, sections: dict[str, Html]) -> str:
    """A whole page: valid HTML 5 that needs nothing but itself.

    Arguments:
        title: Its title and first heading.
        introduction: A paragraph below it.
        sections: What the sections hold, by title; empty ones are left out.
    """
    shown = {name: content for name, content in sections.items() if content}
    links = element("ul", *[element("li", element("a", name, href=f"#{anchor(name)}")) for name in shown])
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),  # else a browser asks the server for one
        element("title", title),
        element("style", Html(STYLE)),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        element("header", element("h1", title), element("p", introduction), element("nav", links, aria_label="Sections")),
        element("main", *[section(name, content) for name, content in shown.items()], id="content", tabindex=-1),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"
