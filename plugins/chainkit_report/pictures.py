"""Pictures of a run inside a page, with the words that were drawn into their files.

A PNG file carries texts. ``Title`` and ``Description`` become the caption, the latter also the words
for those who do not see the picture, so that whoever draws a picture, of any plugin, says what it shows.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from chainkit.errors import DataError
from chainkit_report.html import Html, element, folded

SIGNATURE = b"\x89PNG\r\n\x1a\n"
FIRST = ("samples", "means", "chain")
"""Pictures that are looked for first; others follow by name."""
ON_THE_WAY = "-epoch-"
"""In the names of pictures that were drawn while training."""
MOST = 8
WIDE = 1.5


@attrs.frozen(kw_only=True)
class Picture:
    """A PNG file.

    Arguments:
        name: Its name without suffix.
        content: Its bytes.
        width: In pixels.
        height: In pixels.
        texts: The texts that it carries, by keyword.
    """

    name: str
    content: bytes
    width: int
    height: int
    texts: dict[str, str]


def read_picture(path: Path) -> Picture:
    """Reads a picture and the texts in it.

    Raises:
        DataError: It is not a PNG file.
    """
    content = path.read_bytes()
    try:
        chunks = list(_chunks(content))
        width, height = struct.unpack(">II", dict(chunks)[b"IHDR"][:8])
        texts = dict(_text(kind, data) for kind, data in chunks if kind in (b"tEXt", b"iTXt"))
    except (ValueError, KeyError, struct.error) as error:
        raise DataError(f"{path}: not a PNG picture, or a damaged one") from error
    return Picture(name=path.stem, content=content, width=width, height=height, texts=texts)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not content.startswith(SIGNATURE):
        raise ValueError("no PNG signature")
    place = len(SIGNATURE)
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        yield kind, content[place + 8 : place + 8 + length]
        place += length + 12


def _text(kind: bytes, data: bytes) -> tuple[str, str]:
    """Keyword and text; texts that are compressed are read as empty."""
    keyword, _, rest = data.partition(b"\0")
    if kind == b"tEXt":
        return keyword.decode("latin-1"), rest.decode("latin-1")
    _, _, translated = rest[2:].partition(b"\0")
    return keyword.decode("latin-1"), "" if rest[:1] != b"\0" else translated.partition(b"\0")[2].decode("utf-8")


def shown(picture: Picture) -> Html:
    """A picture with its caption, inside the page."""
    plain = picture.name.replace("-", " ").replace("_", " ")
    title, words = picture.texts.get("Title") or plain, picture.texts.get("Description")
    image = element(
        "img",
        src=f"data:image/png;base64,{base64.b64encode(picture.content).decode()}",
        alt=words or f"Picture {plain} of this run",
        width=picture.width,
        height=picture.height,
    )
    wide = {"class_": "wide"} if picture.width > WIDE * picture.height else {}
    # Those who hear the page have heard the words in place of the picture.
    seen = [element("span", words, aria_hidden="true")] if words else []
    return element("figure", image, element("figcaption", element("b", title), *seen), **wide)


def gallery(paths: Sequence[Path]) -> Html:
    """The pictures of the end of a run; nothing where there are none."""
    final = [path for path in paths if ON_THE_WAY not in path.stem]
    ordered = sorted(final, key=lambda path: (FIRST.index(path.stem) if path.stem in FIRST else len(FIRST), path.stem))
    return _gallery(ordered)


def on_the_way(paths: Sequence[Path]) -> Html:
    """Pictures drawn while training, folded; some of them where there are many."""
    drawn = sorted(path for path in paths if ON_THE_WAY in path.stem)
    some = [drawn[place * (len(drawn) - 1) // (MOST - 1)] for place in range(MOST)] if len(drawn) > MOST else drawn
    return folded(f"Pictures drawn while training ({len(some)} of {len(drawn)})", _gallery(some)) if drawn else Html()


def _gallery(paths: Sequence[Path]) -> Html:
    return element("div", *[shown(read_picture(path)) for path in paths], class_="pictures") if paths else Html()
