"""What code a result rests on, as a short name: another name means that it has to be computed again.

Counted are the definitions of the script that the function reaches, the modules of ``dynlab.figures`` that the script
imports, and everything of dynlab that computes, with the sources of the kernels. Comments, docstrings and layout of
Python files do not count, nor does what only draws or checks: a claim can be worded anew and a figure drawn anew
without computing anything.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import symtable
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import dynlab
from dynlab import _folders

_PACKAGE = Path(dynlab.__file__).resolve().parent
_NOT_COMPUTING = ("cli*.py", "plots/**/*.py", "widgets/**/*.py", "figures/**/*.py", "theory/**/*.py")
"""Left out; of ``figures`` and ``theory``, what a script imports counts for that script."""
_NO_NUMBERS = ("base", "workspaces")
"""Modules of ``figures`` that scripts import and that no result depends on."""
_KERNELS = (".h", ".cpp", ".cu", ".cuh")
_DYNAMIC = {"globals", "eval", "exec"}
"""Names with which a function can reach definitions without naming them: the whole script counts then."""
_parsing = threading.RLock()  # where two threads parse at once, Python 3.11 loses count of its recursion


def versions() -> dict[str, str]:
    """Of Python and of the packages that numbers come from."""
    own = {"python": platform.python_version(), "dynlab": dynlab.__version__}
    return own | {package: _version(package) for package in ("torch", "numpy", "scipy")}


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def code_of(source: bytes, function: str) -> str:
    """The digest of what the top-level ``function`` of a script rests on, the script being given by its source."""
    with _parsing:
        return _code_of(source, function)


@cache
def _code_of(source: bytes, function: str) -> str:
    reached = _reached(ast.parse(source), function)
    modules, theory = _imported(reached)
    parts = [_dump(statement) for statement in reached] + [_of_file(path) for path in modules]
    return _digest([*parts, of_theory() if theory else _of_dynlab()])


def of_theory() -> str:
    """The digest of the propositions, and of what they rest on."""
    with _parsing:
        return _digest([_of_files(str(_PACKAGE), ("theory/**/*.py",), ()), _of_dynlab()])


@cache
def _of_dynlab() -> str:
    """The digest of what in dynlab computes, as it was when it was first asked for in this process."""
    kernels = _folders.folder("kernels")
    sources = sorted(path for path in kernels.rglob("*") if path.suffix in _KERNELS and "build" not in path.parts)
    python = _of_files(str(_PACKAGE), ("**/*.py",), _NOT_COMPUTING)
    return _digest([python, *(f"{path.relative_to(kernels).as_posix()}:{_raw(path)}" for path in sources)])


@cache
def _of_files(folder: str, patterns: tuple[str, ...], without: tuple[str, ...]) -> str:
    root = Path(folder)
    left_out = {path for pattern in without for path in root.glob(pattern)}
    found = sorted({path for pattern in patterns for path in root.glob(pattern)} - left_out)
    # An installed package carries scripts and kernels in folders of its own.
    own = [path for path in found if not path.relative_to(root).parts[0].startswith(("_kernels", "_figures", "_note"))]
    return _digest(f"{path.relative_to(root).as_posix()}:{_of_file(path)}" for path in own)


@cache
def _of_file(path: Path) -> str:
    return _dump(ast.parse(path.read_bytes(), str(path)))


def _raw(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(parts: Iterable[str]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.encode()).digest())
    return total.hexdigest()


def _dump(tree: ast.AST) -> str:
    """The code without its docstrings, comments and layout."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            node.body = [one for one in body if not _is_text(one)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)


# ---- what a function reaches -----------------------------------------------------------------------------------------


def _reached(tree: ast.Module, function: str) -> list[ast.stmt]:
    """The top-level statements that ``function`` rests on, in the order of the file."""
    statements = [one for one in tree.body if not _is_text(one)]
    scopes = [_bound_and_used(statement) for statement in statements]
    bound, used = [names for names, _ in scopes], [names for _, names in scopes]
    # What binds no name does something else: it always counts.
    reached = {index for index, names in enumerate(bound) if not names or function in names}
    while True:
        wanted = {name for index in reached for name in used[index]}
        if wanted & _DYNAMIC or "*" in set().union(*bound):
            return statements
        more = {index for index, names in enumerate(bound) if names & wanted} - reached
        if not more:
            return [statements[index] for index in sorted(reached)]
        reached |= more


def _bound_and_used(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """The module's names that a top-level statement gives a value, and those that it reads, in its functions too."""
    top = symtable.symtable(ast.unparse(statement), "<statement>", "exec")
    symbols = top.get_symbols()
    bound = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
    used = {symbol.get_name() for symbol in symbols if symbol.is_referenced()}
    tables = top.get_children()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        # A local name of a function, or of a comprehension, is not the module's of the same name.
        module = [symbol for symbol in table.get_symbols() if symbol.is_global()]
        used |= {symbol.get_name() for symbol in module}
        bound |= {symbol.get_name() for symbol in module if symbol.is_assigned() or symbol.is_imported()}
    for node in ast.walk(statement):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            bound.add("*")
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            bound |= {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)} & used
    return bound, used


def _imported(statements: list[ast.stmt]) -> tuple[list[Path], bool]:
    """The modules of ``dynlab.figures`` that are imported, and by these in turn, and whether dynlab.theory is used."""
    found: dict[Path, None] = {}
    theory = False
    waiting: list[ast.AST] = list(statements)
    while waiting:
        for module in _modules(waiting.pop()):
            theory |= module.startswith("dynlab.theory")
            head, _, name = module.rpartition(".")
            path = _PACKAGE / "figures" / f"{name}.py"
            if head == "dynlab.figures" and name not in _NO_NUMBERS and path.is_file() and path not in found:
                found[path] = None
                waiting.append(ast.parse(path.read_bytes(), str(path)))
    return sorted(found), theory


def _modules(tree: ast.AST) -> Iterator[str]:
    """Dotted names that are imported, or reached as attributes of dynlab."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)
