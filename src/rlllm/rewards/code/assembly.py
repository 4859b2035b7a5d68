"""Which of a completion's code blocks is the program, and what it needs of the others. Runs in the solution's sandbox.

A completion often holds more than its program: a usage example behind it, a first attempt before it, helpers in a block of
their own. The program is the block that defines what the tests call; of the other blocks it gets the definitions that it
reads. evalplus picks the program by the same idea (Liu et al. 2023, arXiv 2305.01210, `sanitize`). In a text that nothing marks
as code, prose may stand around the program: there, the runs of lines that are Python are the blocks. Standard library only.
"""

from __future__ import annotations

import ast
import builtins
import re
from typing import Any

_FILE = "solution.py"
_BUILTINS = frozenset(dir(builtins))
_MODULES = (
    *(
        "string",
        "re",
        "datetime",
        "collections",
        "heapq",
        "bisect",
        "copy",
        "math",
        "random",
        "statistics",
        "itertools",
    ),
    *("functools", "operator", "io", "sys", "json", "typing"),
)
"""Modules that the harnesses of LiveCodeBench and APPS import before a program, each whole and by its names."""


class _Block:
    """A block of the completion: its text, its place, and its syntax tree (None where it does not compile alone)."""

    def __init__(self, place: int, labelled: bool, text: str) -> None:
        self.place, self.labelled, self.text = place, labelled, text
        self.tree = _tree(text)


def assembled(blocks: list[tuple[bool, str]], wanted: list[str], prefix: str, reads_input: bool) -> list[Any]:
    """Code objects that make up the program, in the order in which they run.

    Args:
        blocks: each whether it is labelled as Python, and its text; at least one.
        wanted: names that the tests use, of which the program defines one or more; empty for a script.
        prefix: the prompt, where a block may go on from it.
        reads_input: the script is given something on standard input.

    Raises:
        SyntaxError: no block compiles.
    """
    parsed = _parsed(blocks)
    if len(blocks) == 1 and not blocks[0][0] and not (parsed[0].tree is None and _completes(prefix, parsed[0])):
        text = blocks[0][1]
        runs = _runs_of_code(text) if parsed[0].tree is None else [_without_idle(text)]
        blocks = [(True, run) for run in runs] or blocks
        parsed = _parsed(blocks)
    if len(blocks) == 1 and not prefix:
        return [_compiled(blocks[0][1])]
    usable = [block for block in parsed if block.tree is not None or _completes(prefix, block)]
    if not usable:
        last = max(parsed, key=lambda block: (block.labelled, block.place))
        return [_compiled(prefix + last.text)]
    main = max(
        usable,
        key=lambda block: (
            _serves(block, usable, wanted, reads_input),
            not _imports_only(block, wanted),
            block.labelled,
            block.place,
        ),
    )
    if main.tree is None:
        return [_compiled(prefix + main.text)]
    first = [_compiled(prefix)] if prefix else []
    given = _bound_by(ast.parse(prefix)) if prefix else set()
    statements = _definitions(main, usable, set(wanted), given)
    helpers = [compile(ast.Module(statements, []), _FILE, "exec", dont_inherit=True)] if statements else []
    return [*first, *helpers, _compiled(main.text)]


def _parsed(blocks: list[tuple[bool, str]]) -> list[_Block]:
    return [_Block(place, labelled, text) for place, (labelled, text) in enumerate(blocks)]


_BEGINNING = re.compile(
    r"(?:import|from|def|class|async|if|for|while|try|with|del|assert|global|raise|pass|lambda|not|await|match)\b"
    r"|[@#([{\"'*-]|[A-Za-z_][\w.]*\s*(?:[\[(,:]|(?:[-+*/%|&^@]|//|\*\*|<<|>>)?=)"
)
"""How a statement begins that does something. Prose may begin so, too; then it does not compile."""
_MOST_ATTEMPTS = 300
"""To compile a part of a text, which takes as long as the part is."""


def _runs_of_code(text: str) -> list[str]:
    """The longest runs of lines that compile, in order; where there is none, those of lines that are indented (Markdown)."""
    lines = text.split("\n")
    return _runs(lines) or _runs(_unindented(lines))


def _runs(lines: list[str]) -> list[str]:
    runs, start, attempts = [], 0, _MOST_ATTEMPTS
    while start < len(lines) and attempts:
        end = len(lines) if _BEGINNING.match(lines[start]) else start
        while end > start and attempts:
            attempts -= 1
            wrong = _wrong_line("\n".join(lines[start:end]))
            if wrong is None:
                runs.append(_without_idle("\n".join(lines[start:end])))
                break
            end = min(end - 1, start + wrong - 1)
        start = max(end, start + 1)
    return [run for run in runs if run.strip()]


def _unindented(lines: list[str]) -> list[str]:
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    least = min((indent for indent in indents if indent), default=0)
    return [line[least:] if line[:least].isspace() else line for line in lines]


def _wrong_line(source: str) -> int | None:
    """The number of the first line at which a source does not compile, from 1; None where it does."""
    try:
        _compiled(source)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


def _without_idle(source: str) -> str:
    """A source without its top-level statements that do nothing: prose that happens to compile ("Done", "Note: none")."""
    kept: set[int] = set()
    idle: set[int] = set()
    for statement in ast.parse(source).body:
        lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
        (idle if _is_idle(statement) else kept).update(lines)
    emptied = idle - kept
    return "\n".join("" if number in emptied else line for number, line in enumerate(source.split("\n"), start=1))


def _is_idle(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    return isinstance(statement, ast.Expr) and not any(isinstance(part, ast.Call) for part in ast.walk(statement))


def preamble() -> dict[str, Any]:
    """Names that a program of LiveCodeBench or APPS may use without importing them. Builtins keep their meaning."""
    names: dict[str, Any] = {}
    modules = [__import__(name) for name in _MODULES]
    for module in modules:
        public = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
        names.update({name: getattr(module, name) for name in public if name not in _BUILTINS})
    names.update({module.__name__: module for module in modules})
    return names


def _compiled(source: str) -> Any:
    return compile(source, _FILE, "exec", dont_inherit=True)


def _tree(source: str) -> ast.Module | None:
    """The syntax tree, or None where the source does not compile (a `return` outside of a function parses)."""
    try:
        tree = ast.parse(source)
        _compiled(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree


def _completes(prefix: str, block: _Block) -> bool:
    return bool(prefix) and _tree(prefix + block.text) is not None


def _serves(block: _Block, blocks: list[_Block], wanted: list[str], reads_input: bool) -> bool:
    """Whether the block can be the program: it defines a name that the tests use, or it reads the input of a script."""
    if block.tree is None:  # it goes on from the prompt, which begins the function
        return True
    if wanted:
        return any(_defines(block.tree, name) for name in wanted)
    parts = [block.tree, *_definitions(block, blocks, set(), set())]
    return not reads_input or any(map(_reads_input, parts))


def _imports_only(block: _Block, wanted: list[str]) -> bool:
    """Whether what the tests use of a block is only imported there, as an example of use imports the program."""
    if block.tree is None or not wanted:
        return False
    own = [statement for statement in block.tree.body if not isinstance(statement, (ast.Import, ast.ImportFrom))]
    return not any(_defines(ast.Module(own, []), name) for name in wanted)


def _defines(tree: ast.Module, name: str) -> bool:
    """Whether a module defines the name, or its class `Solution` has a method of that name."""
    if name in _bound_by(tree):
        return True
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Solution"]
    return any(isinstance(part, _FUNCTIONS) and part.name == name for node in classes for part in node.body)


def _reads_input(part: ast.AST) -> bool:
    for node in ast.walk(part):
        if isinstance(node, ast.Name) and node.id in ("input", "stdin", "fileinput"):
            return True
        if isinstance(node, ast.Attribute) and node.attr == "stdin":
            return True
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            opened = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if opened in ("open", "read", "fdopen") and node.args[0].value in (0, "/dev/stdin"):
                return True
    return False


def _definitions(main: _Block, blocks: list[_Block], wanted: set[str], given: set[str]) -> list[ast.stmt]:
    """Statements of other blocks that bind names which the program or the tests use and nothing else binds.

    Of several bindings the nearest one before the program counts, then the first one behind it.
    """
    assert main.tree is not None
    bound = _bound_by(main.tree) | given | _BUILTINS
    missing = (_read_by(main.tree) | {name for name in wanted if not _defines(main.tree, name)}) - bound
    before = [block for block in blocks if block.place < main.place][::-1]
    behind = [block for block in blocks if block.place > main.place]
    candidates = [
        (block.place, number, statement)
        for block in [*before, *behind]
        if block.tree is not None
        for number, statement in reversed(list(enumerate(block.tree.body)))
        if isinstance(statement, _BINDING)
    ]
    chosen: dict[tuple[int, int], ast.stmt] = {}
    progress = True
    while progress and missing:
        progress = False
        for place, number, statement in candidates:
            names = _bound_by(statement)
            if (place, number) not in chosen and names & (missing | {"*"}):
                chosen[place, number] = statement
                bound |= names
                missing = (missing | _read_by(statement)) - bound
                progress = True
    return [statement for _, statement in sorted(chosen.items())]


def _read_by(node: ast.AST) -> set[str]:
    """Names that are read and not bound by a function or comprehension around them."""
    names: set[str] = set()
    waiting: list[tuple[ast.AST, set[str]]] = [(node, set())]
    while waiting:
        part, local = waiting.pop()
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id not in local:
            names.add(part.id)
        inner = local | _own_names(part)
        waiting += [(child, inner) for child in ast.iter_child_nodes(part)]
    return names


def _own_names(node: ast.AST) -> set[str]:
    """Names that belong to the scope that a function or comprehension opens; nothing for other nodes."""
    if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        given = node.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        body = node.body if isinstance(node.body, list) else []
        bound = {name for statement in body for name in _bound_by(statement)}
        return bound | {argument.arg for argument in arguments if argument}
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return {name for part in node.generators for name in _bound_by(part.target)}
    return set()


def _bound_by(node: ast.AST) -> set[str]:
    """Names that a statement, or a module's statements, bind on their own level; `*` for an import of everything."""
    names: set[str] = set()
    waiting = [node]
    while waiting:  # no recursion: a long sum is a deep tree
        part = waiting.pop()
        if isinstance(part, (*_FUNCTIONS, ast.ClassDef)):
            names.add(part.name)
        elif isinstance(part, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in part.names)
        elif isinstance(part, ast.Name):
            names.update([part.id] if isinstance(part.ctx, ast.Store) else [])
        elif not isinstance(part, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            waiting += ast.iter_child_nodes(part)
    return names


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BINDING = (*_FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Try)
"""Statements that may be taken from another block, where a name that they bind is read."""
