"""Ways to spoil a recipe: its bytes, its tables, its values, and the overrides of the command line."""

from __future__ import annotations

import copy
import datetime
import string
from collections.abc import Iterator
from random import Random
from typing import Any

import tomli_w

ESCAPES = "\x1b[31m\x1b]0;title\x07\x1b[2J"
HOSTILE: list[Any] = [
    *("", " ", "x", "auto", "0", "1e3", "true", "\n", "a\r\nb", "a\tb", "\x00", ESCAPES, "\u202eabc\u2066", "\x9b31m", "\ufffe"),
    *(
        "../../x",
        "/dev/null",
        "/proc/self/mem",
        "~root",
        "C:\\x",
        "os.system",
        "__import__('os')",
        "${HOME}",
        "%s%n",
        "{0}",
        "{x.__class__}",
    ),
    *("a" * 10_000, "\U0001f600" * 100),
    *(0, 1, -1, 2, 3, 7, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**400),
    *(0.0, -0.0, 0.5, 1.0, -1.0, 1.9, 1e-320, 1e308, -1e308, float("inf"), float("-inf"), float("nan")),
    *(True, False),
    *(datetime.date(2020, 2, 29), datetime.time(1, 2, 3), datetime.datetime(1, 1, 1), datetime.datetime.max),
    *([], [[]], [[[[]]]], [1, "a"], [1.5, 2], [0] * 1000, ["a"], [True], [{}], [{"type": "mlp"}]),
    *(
        {},
        {"type": ""},
        {"type": 3},
        {"type": []},
        {"type": "mlp"},
        {"type": "\x1b[31m"},
        {"": 1},
        {"a": {"b": {"c": 1}}},
        {"type": {"type": "mlp"}},
    ),
]
"""Values of every type that TOML has, at its ends and beyond what any key takes."""

Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of everything below a table or list."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def at(tables: Any, path: Path) -> Any:
    """What stands at a path."""
    for key in path:
        tables = tables[key]
    return tables


def nested(levels: int, kind: str) -> Any:
    """A list in a list, or a table in a table."""
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind == "list" else {"a": value}
    return value


def typo(random: Random, word: str) -> str:
    """A word with one letter too many, too few, another, or two swapped."""
    i = random.randrange(len(word) + 1)
    letter = random.choice(string.ascii_lowercase + "_-.:\x1b")
    ways = [word[:i] + letter + word[i:], word[:i] + letter + word[i + 1 :], word[:i] + word[i + 1 :]]
    return random.choice([*ways, word[:i] + word[i : i + 2][::-1] + word[i + 2 :]])


def spoilt_tables(random: Random, tables: dict[str, Any]) -> str:
    """Changes a few places of a recipe's tables, and writes it."""
    tables = copy.deepcopy(tables)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        _spoil(random, tables, random.choice(list(places(tables)) or [("data",)]))
    return tomli_w.dumps(tables)


def _spoil(random: Random, tables: dict[str, Any], path: Path) -> None:
    # A copy, since what is put in here may be changed next.
    parent, key, hostile = at(tables, path[:-1]), path[-1], copy.deepcopy(random.choice(HOSTILE))
    way = random.randrange(8)
    if way == 0:
        del parent[key]
    elif way == 1 and isinstance(parent, dict):
        parent[typo(random, str(key))] = parent.pop(key)
    elif way == 2:
        parent[key] = copy.deepcopy(at(tables, random.choice(list(places(tables)))))
    elif way == 3 and isinstance(parent, dict):
        parent[random.choice(("x", "", "type", "\x1b[31m", "a b", "\n", "__class__", "__init__", "self", "\u00e9"))] = hostile
    elif way == 4 and isinstance(parent.get(key) if isinstance(parent, dict) else None, str):
        parent[key] = typo(random, parent[key])
    elif way == 5:
        parent[key] = nested(random.choice((2, 10, 31, 40, 90)), random.choice(("list", "table")))
    else:
        parent[key] = hostile


def spoilt_bytes(random: Random, content: bytes) -> bytes:
    """Changes a few bytes or lines of a recipe."""
    for _ in range(random.choice((1, 1, 2, 10))):
        content = random.choice(_BYTES)(random, content)
    return content


def _insert(random: Random, content: bytes) -> bytes:
    i = random.randrange(len(content) + 1)
    pieces = [
        bytes([random.randrange(256)]),
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\r",
        b"\r\n",
        b"\x1b[31m",
        b"'",
        b'"""',
        b"[[",
        b"]",
        b"{",
    ]
    return content[:i] + random.choice(pieces) + content[i:]


def _remove(random: Random, content: bytes) -> bytes:
    i = random.randrange(len(content) + 1)
    return content[:i] + content[i + random.choice((1, 2, 30)) :]


def _cut(random: Random, content: bytes) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _lines(random: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    i, j = random.randrange(len(lines)), random.randrange(len(lines))
    ways = [lines[:i] + lines[j:], [*lines[:i], lines[j], *lines[i:]], [lines[j] if k == i else line for k, line in enumerate(lines)]]
    return b"".join(random.choice(ways))


def _digits(random: Random, content: bytes) -> bytes:
    place = random.randrange(len(content) + 1)
    return content[:place] + b"9" * random.choice((1, 20, 400, 5000)) + content[place:]


def _deep(random: Random, content: bytes) -> bytes:
    n = random.choice((30, 33, 100, 1000, 20_000))
    ways = [
        b"\nx = " + b"[" * n + b"]" * n,
        b"\nx = " + b"{a=" * n + b"1" + b"}" * n,
        b"\n[" + b".".join([b"a"] * n) + b"]\n",
        b"\n[[x]]" * n,
    ]
    return content + random.choice(ways)


def _large(random: Random, content: bytes) -> bytes:
    n = random.choice((10_000, 300_000, 3_000_000))
    return content + random.choice(
        [b"#" * n, b"\n" * n, b"\nx = '" + b"y" * n + b"'\n", b"".join(b"\nk%d = 1" % i for i in range(n // 100))]
    )


_BYTES = [_insert, _insert, _remove, _remove, _cut, _lines, _lines, _digits, _deep, _large]


def spoilt_override(random: Random, keys: list[str]) -> str:
    """A ``--set`` argument that is wrong in its key, its value or both."""
    key = random.choice(keys)
    values = [
        "",
        "1",
        "-1",
        "1.5",
        "nan",
        "'",
        '"',
        "[",
        "{",
        "[[]]",
        "{type='mlp'}",
        "2020-01-01",
        "9" * 5000,
        "[" * 9000,
        "a\nb=1",
        ESCAPES,
        "\x00",
        "\udcff",
        "x=y",
    ]
    value = random.choice(values)
    ways = [
        f"{key}={value}",
        f"{typo(random, key)}={value}",
        f"{key}.{random.choice(('0', '-1', '99', 'x', ''))}={value}",
        f"{key}",
        f"={value}",
        f"{'.'.join(['a'] * 3000)}=1",
    ]
    return random.choice(ways)
