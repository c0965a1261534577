"""What a hidden check really needs of a lesson: a backward slice over names, statement by statement.

A grading run skips measurements and pictures, whose names no answer and no hidden check reads. A bare call that changes
its arguments is not seen; that a slice prints what the whole lesson prints is shown by running both.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from course_utils.classroom.authoring.limits import without_magics

__all__ = ["Names", "names_of", "needed", "parsed", "statements"]

_FILE = re.compile(r"[\w./-]*\w\.[a-z]\w{0,5}")
NOT_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)  # what any text can make the parser raise


@dataclass(frozen=True)
class Names:
    """The global names that a piece of code has to do with; files it names in a string count too.

    `reads` are looked up at once or later, `late` only when a function of it is called. `touches` are bound or changed,
    `binds` those of them that have a new value whatever happens.
    """

    reads: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()
    touches: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()


def statements(text: str) -> list[str]:
    """The top-level statements of a cell, an import of several names split up; a cell of magics stays in one piece."""
    if text.lstrip().startswith("%%"):
        return [text]
    tree = parsed(text)
    if tree is None:
        return [text]
    try:
        return [ast.unparse(part) for statement in tree.body for part in _parts(statement)]
    except RecursionError:  # a sum of thousands of parts
        return [text]


def parsed(text: str) -> ast.Module | None:
    """A cell's text as a tree, lines of magics left out; None where it is no Python."""
    try:
        return ast.parse(without_magics(text))
    except NOT_PYTHON:
        return None


def names_of(text: str) -> Names:
    """What a piece of code reads and binds; of code that is no Python, only the files that it names."""
    if text.lstrip().startswith("%%"):  # it may run what follows, or write it to a file
        first, _, rest = text.lstrip().partition("\n")
        inside, files = names_of(rest), frozenset(_FILE.findall(first))
        return Names(inside.reads | files, inside.late, inside.touches | files)
    tree = parsed(text)
    try:
        table = symtable.symtable(without_magics(text), "cell", "exec")
    except NOT_PYTHON:
        return Names()
    if tree is None:
        return Names()
    top = table.get_symbols()
    files = frozenset(_files(tree))
    late = {name for child in table.get_children() for name in _free(child)}
    reads = {symbol.get_name() for symbol in top if symbol.is_referenced()} | late
    bound = {symbol.get_name() for symbol in top if symbol.is_assigned() or symbol.is_imported()}
    changed = set(_changed(tree))
    binds = {name for statement in tree.body for name in _bound_for_sure(statement)}
    return Names(frozenset(reads) | files, frozenset(late), frozenset(bound | changed) | files, frozenset(binds))


def needed(units: Sequence[Names], roots: Sequence[bool], firm: Sequence[bool]) -> list[bool]:
    """Which of the units in a row must run so that the roots find all they read.

    A unit that is not `firm` may fail to bind what it should (an answer may), so what stood there before stays needed.
    """
    late: frozenset[str] = frozenset()
    while True:
        chosen, found = _walk(units, roots, firm, late)
        if found <= late:
            return chosen
        late |= found


def _walk(
    units: Sequence[Names], roots: Sequence[bool], firm: Sequence[bool], late: frozenset[str]
) -> tuple[list[bool], frozenset[str]]:
    """One way from the last unit to the first, and the names that functions of the chosen ones look up late."""
    wanted: frozenset[str] = frozenset()
    chosen, found = [False] * len(units), frozenset[str]()
    for place in reversed(range(len(units))):
        unit = units[place]
        if roots[place] or unit.touches & (wanted | late):
            chosen[place] = True
            wanted = (wanted - unit.binds if firm[place] else wanted) | unit.reads
            found |= unit.late
    return chosen, found


def _parts(statement: ast.stmt) -> list[ast.stmt]:
    if isinstance(statement, ast.Import):
        return [ast.Import([alias]) for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.module != "__future__":
        return [ast.ImportFrom(statement.module, [alias], statement.level) for alias in statement.names]
    return [statement]


def _free(table: symtable.SymbolTable) -> Iterator[str]:
    """Global names that a function or class looks up, those of what is nested in it included."""
    yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() or _at_class(table, symbol))
    for child in table.get_children():
        yield from _free(child)


def _at_class(table: symtable.SymbolTable, symbol: symtable.Symbol) -> bool:
    return table.get_type() == "class" and symbol.is_referenced()


def _changed(tree: ast.AST) -> Iterator[str]:
    """Names whose object is changed in place: parts assigned or deleted, or a method called for its effect."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            yield from _base(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _base(node.value.func) if isinstance(node.value.func, ast.Attribute) else ()


def _base(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Name):
        yield node.id


def _bound_for_sure(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).split(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from _plain_names(target)


def _plain_names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _plain_names(part)


def _files(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _FILE.fullmatch(node.value):
            yield node.value
