"""The small mistakes that a formula can hold: every numeric constant, and every sign, changed one at a time.

Constants:

- a float, and an int that is an operand of ``+ - * /``, is multiplied by 1.01 (0 becomes 0.01);
- an int that counts (an exponent, an index, a bound of a range, a comparison, an argument) becomes
  one more, since 1 % of it makes no sense.

Signs: ``-x`` becomes ``+x``; ``a + b`` becomes ``a - b``, and the other way round.

Left alone is what no formula is written with: docstrings, messages (whatever stands in ``raise``,
``assert`` or an f-string), the ranges of arguments (the test of an ``if`` that does nothing but raise),
annotations, the defaults of arguments and of fields (settings, which are data), and the numbers that
only name a dimension or a shape (arguments of :data:`AXES`, keywords ``dim``, subscripts of ``shape``):
a wrong one of these fails at once.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import attrs

_AXES = """
all amax amin any argmax argmin argsort cat chunk cumsum diff dim expand expand_as flatten flip index_add_ log_softmax logsumexp
max mean min movedim new_full new_ones new_zeros ones permute prod repeat repeat_interleave reshape size softmax split squeeze stack
std sum transpose unbind unflatten unsqueeze var view zeros zip
"""

AXES = frozenset(_AXES.split())
"""Functions and methods whose literal ints are dimensions and shapes."""

COUNTS = frozenset({"arange", "enumerate", "len", "linspace", "range", "round"})
"""Functions inside whose arguments every int counts something."""

Parents = dict[ast.AST, ast.AST]


@attrs.frozen(kw_only=True)
class Mutant:
    """One change of one file.

    Arguments:
        path: The file, relative to the root of the repository.
        where: Qualified name of the function, empty at the level of the module.
        line: Number of the line.
        kind: ``constant`` or ``sign``.
        before: The line, without its indentation.
        after: The line as changed.
        repeat: How many lines of the function above are changed in the same way.
        start: Where the change starts, in bytes.
        end: Where it ends.
        new: What stands there instead.
    """

    path: str
    where: str
    line: int
    kind: str
    before: str
    after: str
    repeat: int
    start: int
    end: int
    new: str

    @property
    def key(self) -> str:
        """What names the mutant when lines move."""
        again = f" ({self.repeat + 1})" if self.repeat else ""
        return f"{self.path} {self.where}: {self.before} => {self.after}{again}"

    def applied(self, source: bytes) -> bytes:
        """The source of the file with the change."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def mutants(root: Path, path: str) -> list[Mutant]:
    """All mutants of a file, from top to bottom.

    Arguments:
        root: Root of the repository.
        path: The file, relative to it.
    """
    finder = _Finder(path, (root / path).read_bytes())
    finder.visit(finder.tree)
    return finder.found


class _Finder(ast.NodeVisitor):
    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source, self.tree = path, source, ast.parse(source)
        self.lines = source.splitlines(keepends=True)
        self.starts = [sum(map(len, self.lines[:i])) for i in range(len(self.lines))]
        self.parents: Parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.names: list[str] = []
        self.seen: Counter[tuple[str, str, str]] = Counter()
        self.found: list[Mutant] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._named(node, node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._named(node, [part for part in node.body if not isinstance(part, (ast.Assign, ast.AnnAssign))])

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Messages are left alone."""

    visit_Assert = visit_JoinedStr = visit_Raise  # type: ignore[assignment]

    def visit_If(self, node: ast.If) -> None:
        if not (len(node.body) == 1 and isinstance(node.body[0], ast.Raise) and not node.orelse):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or self._names_a_dimension(node):
            return
        whole = isinstance(value, int) and self._counts(node)
        changed = str(value + 1) if whole else f"{value * 1.01 or 0.01:.12g}"
        start = self._at(node.lineno, node.col_offset)
        self._add("constant", node.lineno, start, self._at(node.end_lineno, node.end_col_offset), changed)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub) and not self._names_a_dimension(node.operand):
            start = self._at(node.lineno, node.col_offset)
            self._add("sign", node.lineno, start, start + 1, "+")
        self.visit(node.operand)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.visit(node.left)
        if isinstance(node.op, (ast.Add, ast.Sub)) and not any(map(_is_sequence, (node.left, node.right))):
            self._flip(node.left, node.right)
        self.visit(node.right)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, (ast.Add, ast.Sub)):
            self._flip(node.target, node.value)
        self.visit(node.value)

    def _named(self, node: ast.FunctionDef | ast.ClassDef, body: list[ast.stmt]) -> None:
        self.names.append(node.name)
        for part in body:
            self.visit(part)
        self.names.pop()

    def _flip(self, left: ast.expr, right: ast.expr) -> None:
        """Turns the sign that stands between two expressions over."""
        start, end = self._at(left.end_lineno, left.end_col_offset), self._at(right.lineno, right.col_offset)
        between = self.source[start:end]
        place = next(i for i, sign in enumerate(between) if sign in b"+-")
        line = (left.end_lineno or 0) + between[:place].count(b"\n")
        self._add("sign", line, start + place, start + place + 1, "-" if between[place : place + 1] == b"+" else "+")

    def _at(self, line: int | None, column: int | None) -> int:
        return self.starts[(line or 0) - 1] + (column or 0)

    def _add(self, kind: str, line: int, start: int, end: int, new: str) -> None:
        before, first = self.lines[line - 1], self.starts[line - 1]
        after = before[: start - first] + new.encode() + before[end - first :]
        change = (".".join(self.names), before.decode().strip(), after.decode().strip())
        where, old, changed = change
        self.found.append(
            Mutant(
                path=self.path,
                where=where,
                line=line,
                kind=kind,
                before=old,
                after=changed,
                repeat=self.seen[change],
                start=start,
                end=end,
                new=new,
            )
        )
        self.seen[change] += 1

    def _counts(self, node: ast.AST) -> bool:
        """Whether an int counts, so that 1 % of it makes no sense."""
        parent, child = self.parents[node], node
        while isinstance(parent, ast.UnaryOp):
            parent, child = self.parents[parent], parent
        if not (isinstance(parent, ast.BinOp) and isinstance(parent.op, (ast.Add, ast.Sub, ast.Mult, ast.Div))):
            return True
        while isinstance(parent, ast.expr | ast.keyword):
            if isinstance(parent, ast.Subscript) and child is parent.slice:
                return True
            if isinstance(parent, ast.BinOp) and isinstance(parent.op, (ast.Pow, ast.FloorDiv, ast.Mod)) and child is parent.right:
                return True
            if isinstance(parent, ast.Call) and _called(parent) in COUNTS:
                return True
            parent, child = self.parents[parent], parent
        return False

    def _names_a_dimension(self, node: ast.AST) -> bool:
        """Whether an int only names a dimension or a shape."""
        if not (isinstance(node, ast.Constant) and isinstance(node.value, int)):
            return False
        parent = self.parents[node]
        while isinstance(parent, (ast.UnaryOp, ast.Tuple, ast.List, ast.Starred)):
            node, parent = parent, self.parents[parent]
        if isinstance(parent, ast.keyword):
            return parent.arg in ("dim", "axis", "start_dim")
        if isinstance(parent, ast.Call):
            return node in parent.args and _called(parent) in AXES
        return isinstance(parent, ast.Subscript) and isinstance(parent.value, ast.Attribute) and parent.value.attr == "shape"


def _called(call: ast.Call) -> str:
    """Last part of the name that is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""


def _is_sequence(node: ast.expr) -> bool:
    return isinstance(node, (ast.List, ast.Tuple, ast.JoinedStr)) or isinstance(getattr(node, "value", None), str)
