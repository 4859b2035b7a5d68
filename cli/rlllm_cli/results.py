"""Measured numbers in the documentation: every one is rendered from a file under `docs/results/`.

    python -m rlllm_cli.results                 write the numbers into the pages (`make reference` does it)
    python -m rlllm_cli.results --old           list the files that are older than the code they measure (`make results`)
    python -m rlllm_cli.results --record NAME   run the command of a file again (`make results NAME=...`)

A page holds blocks. A table has a row for each item of a list (or value of a mapping) and a column for each line:

    <!-- results: lifecycle each measures where stage=reason
    seed = {seed}
    before = {before:interval.3}
    -->
    ... written by this module ...
    <!-- /results -->

`<!-- results: NAME text`, followed by Markdown with the same placeholders, is for everything else, and
`<!-- r: NAME {PATH:FORMAT} -->0.70<!-- /r -->` is one number inside a sentence. The first block of a file on a page is followed
by the command and the date of the recording. A `?` behind the name of a block's file leaves the block open until there is one.

A path has steps with a dot between them: keys, numbers of items, and `[key=value]`, which is the item of a list whose `key` has
that value. `$name` in such a value is the row's own. A key that holds a sign of this notation is quoted. Paths count from the
row; those that begin with `^` from the file's `results`. `key` is the key of a row that comes from a mapping. A `?` behind a
path allows it to be missing. None is an empty cell.

Formats are Python's for numbers (`.3f`, `,.0f`, `.0%`), and `interval.3` (0.659 [0.610, 0.700]), `+interval.3` with a sign,
`range.2` for the median of a list and its ends (2.44 (2.25 to 2.58)), and `list.0`.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

_BLOCK = re.compile(
    r"(?P<open><!-- results: (?P<name>\S+) (?P<kind>each|text)(?P<rest>[^\n]*)\n(?P<spec>.*?)-->\n).*?<!-- /results -->",
    re.DOTALL,
)
_INLINE = re.compile(r"(?P<open><!-- r: (?P<name>\S+) (?P<cell>[^>]*?) -->)[^<]*<!-- /r -->")
_PLACEHOLDER = re.compile(r"\{(?P<path>(?:\"[^\"]*\"|[^{}:\"?])+)(?P<optional>\?)?(?::(?P<format>[^{}]+))?\}")
_STEP = re.compile(r"\"(?P<quoted>[^\"]*)\"|\[(?P<key>[^=\]]+)=(?P<value>[^\]]*)\]|(?P<plain>[^.\[\]\"]+)")
_OWN_FORMAT = re.compile(r"(?P<sign>\+?)(?P<kind>interval|range|list)\.(?P<digits>\d+)")
_OPEN = "Not recorded yet."
_SOURCE = "Recorded {date} by `{command}`: [{name}.json]({link})."


class PageError(ValueError):
    """A block of a page does not fit its results file. The message names the page, the file and the path."""


def pages(root: Path) -> list[Path]:
    """The pages that may hold blocks: all but the generated ones."""
    reference = root / "docs" / "reference"
    docs = [page for page in sorted((root / "docs").rglob("*.md")) if not page.is_relative_to(reference)]
    nano = root / "src" / "rlllm" / "assets" / "nano" / "README.md"
    return [page for page in (root / "README.md", root / "CONTRIBUTING.md", *docs, nano) if page.is_file()]


def render(page: Path, root: Path) -> str:
    """The text of a page with its blocks as their files have them.

    Raises:
        PageError: a block names a file or a path that does not exist, or a format that does not fit the value.
    """
    text = page.read_text(encoding="utf-8")
    named: set[str] = set()
    try:
        text = _BLOCK.sub(partial(_block, page=page, root=root, named=named), text)
        return _INLINE.sub(lambda match: f"{match['open']}{_inline(match, root)}<!-- /r -->", text)
    except PageError as error:
        raise PageError(f"{page.relative_to(root)}: {error}") from error


def without_blocks(text: str) -> str:
    """The text of a page but for what is rendered from files."""
    return _INLINE.sub("", _BLOCK.sub("", text))


def results_file(root: Path, name: str) -> Path:
    return root / "docs" / "results" / f"{name}.json"


def read_results(root: Path, name: str) -> dict[str, Any]:
    """A results file. Raises PageError if there is none."""
    from rlllm.core.runs import read_json

    path = results_file(root, name)
    if not path.is_file():
        raise PageError(f"no results file {path.relative_to(root)}")
    return read_json(path)


# --- blocks -----------------------------------------------------------------------------------------------------------


def _block(match: re.Match[str], page: Path, root: Path, named: set[str]) -> str:
    name = match["name"].removesuffix("?")
    if name != match["name"] and not results_file(root, name).is_file():
        return "\n".join([match["open"], _OPEN, "", "<!-- /results -->"])
    content = read_results(root, name)
    if match["kind"] == "text":
        body = _filled(match["spec"].rstrip("\n"), content["results"], {}, name)
    else:
        body = "\n".join(_table(match["rest"], match["spec"], content["results"], name))
    parts = [match["open"], body, ""]
    if name not in named:
        parts += [_source(content, name, page, root), ""]
    named.add(name)
    return "\n".join([*parts, "<!-- /results -->"])


def _source(content: Mapping[str, Any], name: str, page: Path, root: Path) -> str:
    link = Path(os.path.relpath(results_file(root, name), page.parent)).as_posix()
    return _SOURCE.format(date=content["recorded"], command=content["command"], name=name, link=link)


def _table(rest: str, spec: str, results: Any, name: str) -> Iterator[str]:
    """Lines of a Markdown table."""
    words = shlex.split(rest)
    rows = _rows(_value(words[0], results, {}, results, name))
    if words[1:2] == ["where"]:
        key, _, values = words[2].partition("=")
        rows = [(at, row) for at, row in rows if str({"key": at, **row}.get(key)) in values.split(",")]
    if not rows:
        raise PageError(f"{name}: no row for{rest}")
    columns = [line.partition("=") for line in spec.splitlines() if line.strip()]
    yield f"| {' | '.join(head.strip() for head, _, _ in columns)} |"
    yield f"|{'---|' * len(columns)}"
    for at, row in rows:
        cells = [_filled(cell.strip(), results, {**row, "key": at}, name) for _, _, cell in columns]
        yield f"| {' | '.join(cells)} |"


def _rows(value: Any) -> list[tuple[Any, dict[str, Any]]]:
    return list(value.items()) if isinstance(value, Mapping) else list(enumerate(value))


def _inline(match: re.Match[str], root: Path) -> str:
    return _filled(match["cell"], read_results(root, match["name"])["results"], {}, match["name"])


def _filled(template: str, results: Any, row: Mapping[str, Any], name: str) -> str:
    """A template with its placeholders replaced; empty where all of them are."""
    values: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        try:
            value = _value(match["path"], row or results, row, results, name)
        except PageError:
            if not match["optional"]:
                raise
            value = None
        values.append(_text(value, match["format"] or "", f"{name}: {match['path']}"))
        return values[-1]

    text = _PLACEHOLDER.sub(replaced, template).strip()
    return text if any(values) or not values else ""


def _value(path: str, start: Any, row: Mapping[str, Any], results: Any, name: str) -> Any:
    """What a path leads to; None where it leads through None. Raises PageError where a step leads nowhere."""
    value = results if path.startswith("^") else start
    for step in _STEP.finditer(path.removeprefix("^")):
        if value is None:
            return None
        try:
            value = _taken(value, step, row)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise PageError(f"{name} has no {path} (at {step[0]})") from error
    return value


def _taken(value: Any, step: re.Match[str], row: Mapping[str, Any]) -> Any:
    """One step of a path. Raises LookupError or its like where it leads nowhere."""
    if step["key"]:
        wanted = str(row[step["value"][1:]]) if step["value"].startswith("$") else step["value"]
        items = [item for item in value if str(item.get(step["key"])) == wanted]
        return items[0]
    key = step["quoted"] or step["plain"]
    return value[key if isinstance(value, Mapping) else int(key)]


def _text(value: Any, spec: str, place: str) -> str:
    """A value in a format. Raises PageError where they do not fit."""
    own = _OWN_FORMAT.fullmatch(spec)
    if value is None:
        return ""
    try:
        if own:
            return _own_text(value, own["kind"], f"{own['sign']}.{own['digits']}f")
        return format(value, spec).replace("%", " %")
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise PageError(f"{place}: {value!r} does not fit the format {spec}") from error


def _own_text(value: Any, kind: str, digits: str) -> str:
    plain = digits.lstrip("+")
    if kind == "interval":
        from rlllm.core.interval_text import interval_text

        return interval_text(value, digits)
    if kind == "range":
        return f"{median(value):,{plain}} ({min(value):,{plain}} to {max(value):,{plain}})"
    return ", ".join(f"{item:,{plain}}" for item in value)


# --- age --------------------------------------------------------------------------------------------------------------


def age(content: Mapping[str, Any], root: Path) -> str:
    """Empty where a file was recorded with the code as it is now, else what is known of its age."""
    from rlllm.core.code_hash import code_hash

    if content["code"] is None:
        return "made with other code, or before code was hashed"
    gone = [name for name in content["code"] if not (root / name).exists()]
    if gone:
        return f"measured code that is gone: {', '.join(gone)}"
    changed = [name for name, hashed in content["code"].items() if code_hash([root / name], root) != hashed]
    return f"the code changed since: {', '.join(changed)}" if changed else ""


def _show_ages(root: Path) -> None:
    for path in sorted((root / "docs" / "results").glob("*.json")):
        content = read_results(root, path.stem)
        old = age(content, root)
        print(f"{path.stem:28} {content['recorded']}  {old or 'current'}")
        if old:
            print(f"{'':28} make results NAME={path.stem}   # {content['command']}")


def _record(root: Path, name: str) -> int:
    """Run a file's command again, which writes the file."""
    command = os.path.expandvars(read_results(root, name)["command"])
    if "$" in command:
        print(f"set the variable first: {command}", file=sys.stderr)
        return 2
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    return subprocess.run([*words, "--output", str(results_file(root, name))], cwd=root).returncode


def write(root: Path) -> list[Path]:
    """Render all pages; the paths that changed."""
    changed = []
    for page in pages(root):
        text = render(page, root)
        if text != page.read_text(encoding="utf-8"):
            page.write_text(text, encoding="utf-8")
            changed.append(page)
    return changed


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", action="store_true")
    parser.add_argument("--record", metavar="NAME", nargs="*", default=[])
    given = parser.parse_args(words)
    root = Path(__file__).resolve().parents[2]
    if given.old:
        _show_ages(root)
        return 0
    for name in given.record:
        if code := _record(root, name):
            return code
    for page in write(root):
        print(page.relative_to(root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
