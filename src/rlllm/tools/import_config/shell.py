"""Launch scripts of other tools: the one command in them, with the variables that the script sets. Nothing is executed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from rlllm.core.errors import ConfigError
from rlllm.core.python_source import expression_tree

_HEREDOC = re.compile(
    r"^[^\n#]*\bread\b[^\n]*?(\w+)[ \t]*<<-?[ \t]*['\"]?(\w+)['\"]?[ \t]*\n(.*?)\n[ \t]*\2[ \t]*$", re.S | re.M
)
_ARRAY = re.compile(
    r"^[ \t]*(?:declare -a )?(\w+)\+?=\((.*?)^[ \t]*\)[ \t]*$|^[ \t]*(\w+)=\(([^()\n]*)\)[ \t]*$", re.S | re.M
)
_ASSIGNMENT = re.compile(r"^[ \t]*(?:export |local |readonly |declare \S+ )?(\w+)=(.*)$", re.S)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:\[[@*]\])?(?::?-([^{}]*))?\})")
_ARITHMETIC = re.compile(r"\$\(\((.*?)\)\)")
_ENDS = re.compile(r"\|\|?|;|&&?|\d?>.*|&>.*")
UNKNOWN = "$"
"""What a value holds that the shell would compute."""


def command(path: Path, modules: Sequence[str]) -> tuple[str, list[str]]:
    """The first of these modules that a script starts with `python -m` or its like, and the arguments behind it.

    Args:
        modules: dotted names of modules.

    Raises:
        ConfigError: the script starts none of them, or its quotes do not close.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the script: {reason}", given=path) from error
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    text = re.sub(r"\\[ \t]*(?:\n|\Z)", " ", text)
    variables: dict[str, str] = {"HOME": "~", "PWD": ".", "@": "", "*": ""}
    for name, _, body in _HEREDOC.findall(text):
        variables[name] = _expanded(" ".join(body.split("\n")), variables)
    statements = _HEREDOC.sub("", text)
    started = _started(statements, variables, modules)
    if started is None:
        bodies = (body for body in variables.values() if any(module in body for module in modules))
        started = next(bodies, None)
    if started is None:
        raise ConfigError("the script starts no training that can be imported", given=path, exists=modules)
    started = _without_open_quote(started, modules)
    try:
        words = shlex.split(started, comments=True)
    except ValueError as error:
        raise ConfigError(f"the script's command cannot be read: {error}", given=path) from error
    places = [place for place, word in enumerate(words) if word in modules]
    if not places:
        raise ConfigError("the script starts no training that can be imported", given=path, exists=modules)
    arguments = words[places[0] + 1 :]
    ends = (place for place, word in enumerate(arguments) if _ENDS.fullmatch(word))
    return words[places[0]], arguments[: next(ends, len(arguments))]


def _without_open_quote(started: str, modules: Sequence[str]) -> str:
    """The command without a quote around all of it, or without the end of one that begins on an earlier line.

    `bash -c "python3 -m ..."`; `--runtime-env-json='{` with `}' -- python3 -m ...` below.
    """
    command = min((place for module in modules if (place := started.find(module)) >= 0), default=0)
    before, behind = started[:command], started[command:]
    for quote in "\"'":
        if before.count(quote) % 2 and behind.count(quote) % 2:
            end = behind.rindex(quote)
            behind = behind[:end] + behind[end + 1 :]
        elif not before.count(quote) % 2:
            continue
        before = ""
    return before + behind


def _started(text: str, variables: dict[str, str], modules: Sequence[str]) -> str | None:
    """The statement with one of the modules, expanded by the assignments before it."""
    place = 0
    while place < len(text):
        array = _ARRAY.match(text, place)
        if array:
            name, body = (array[1], array[2]) if array[1] else (array[3], array[4])
            items = " ".join(line.split(" #")[0] for line in body.split("\n"))
            before = f"{variables.get(name, '')} " if f"{name}+=" in array[0] else ""
            variables[name] = before + _expanded(items, variables)
            place = array.end() + 1
            continue
        end = text.find("\n", place)
        line = text[place : end if end >= 0 else len(text)]
        if re.match(r"[ \t]*(?:export )?\w+=\"", line) and line.count('"') % 2:  # the quote closes on a later line
            closing = text.find('"', place + len(line))
            line = text[place : closing + 1] if closing >= 0 else line
        place += len(line) + 1
        assignment, expanded = _ASSIGNMENT.match(line), _expanded(line, variables)
        if assignment and (_is_one_word(assignment[2]) or not any(f"-m {module}" in line for module in modules)):
            variables[assignment[1]] = _value(_expanded(assignment[2], variables))
        elif any(re.search(rf"(?<![\w.]){re.escape(module)}(?![\w.])", expanded) for module in modules):
            return expanded
    return None


def _is_one_word(text: str) -> bool:
    """Whether nothing follows an assignment's value; behind it a command may stand."""
    try:
        return len(shlex.split(text, comments=True)) <= 1
    except ValueError:
        return False


def _value(text: str) -> str:
    """The first word of an assignment, without its quotes."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return text
    return " ".join(words[0].split()) if words else ""


def _expanded(text: str, variables: dict[str, str]) -> str:
    """The text with the known variables in it; `$(( ))` of numbers is computed."""

    def value(match: re.Match[str]) -> str:
        name, default = match[1] or match[2], match[3]
        if name in variables:
            return variables[name]
        return "" if name.isdigit() and default is None else match[0] if default is None else default

    text = re.sub(r"\"\$[@*]\"|\$[@*]|\"\$\{@[^}]*\}\"|\$\{@[^}]*\}", "", text)
    text = re.sub(r"\"(\$\{\w+\[[@*]\]\})\"", r"\1", text)  # quoted as a whole, an array is many words
    for _ in range(4):
        text = _VARIABLE.sub(value, text)
    return _ARITHMETIC.sub(lambda match: _number(match[1], variables) or match[0], text)


def _number(expression: str, variables: dict[str, str]) -> str | None:
    """The value of an expression of whole numbers; None for any other."""
    expression = re.sub(r"[A-Za-z_]\w*", lambda match: variables.get(match[0], match[0]), expression).replace("/", "//")
    if not re.fullmatch(r"[\d\s+*/()-]{1,80}", expression):
        return None
    try:
        return str(_computed(expression_tree(expression.strip())))
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


def _computed(node: ast.AST) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.BinOp):
        left, right = _computed(node.left), _computed(node.right)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.FloorDiv):
            return left // right
    raise ValueError
