"""Every command the documentation shows is run, so that none can rot. See `docs_pages` for how a page steers this."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs_pages import ROOT, complaints, fences, follow, pages

PAGES = {str(page.relative_to(ROOT)): fences(page.read_text(encoding="utf-8")) for page in pages() if page.exists()}
QUICK = [name for name, blocks in PAGES.items() if any(block.does_something and not block.slow for block in blocks)]
SLOW = [name for name, blocks in PAGES.items() if any(block.does_something and block.slow for block in blocks)]

EXAMPLE = """
Text, and ``` in it.

<!-- test: slow, exit 2, model models/mine -->
```bash
# a remark
make demo
.venv/bin/rlllm reason --data x#2 \\
    --dry-run   # looks, and stops
```

```yaml title=mine.yaml
model: nano
```

1. In a list:
   ```console
   $ cat mine.yaml
   model: nano
   ```

```text
rlllm is not run here
```
"""


@pytest.mark.parametrize("name", QUICK)
def test_the_quick_commands_of_a_page_work_in_the_order_shown(name: str, tmp_path: Path) -> None:
    problems = follow(PAGES[name], tmp_path, slow=False)
    assert not problems, f"{name}\n" + "\n".join(problems)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_all_commands_of_a_page_work_in_the_order_shown(name: str, tmp_path: Path) -> None:
    problems = follow(PAGES[name], tmp_path, slow=True)
    assert not problems, f"{name}\n" + "\n".join(problems)


@pytest.mark.parametrize("name", PAGES)
def test_the_other_lines_of_a_page_name_what_exists(name: str) -> None:
    found = [text for block in PAGES[name] for command in block.commands() for text in complaints(command)]
    assert not found, f"{name}\n" + "\n".join(found)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_no_file_twice(name: str) -> None:
    titles = [block.title for block in PAGES[name] if block.title]
    assert len(titles) == len(set(titles))


def test_fences_are_read_with_their_steering_and_titles() -> None:
    first, second, third, fourth = fences(EXAMPLE)
    assert first.commands() == ["make demo", "rlllm reason --data x#2 --dry-run"]
    assert (first.line, first.slow, first.exit_code, first.stand_in) == (5, True, 2, "models/mine")
    assert (second.title, second.body, second.commands()) == ("mine.yaml", "model: nano\n", [])
    assert (third.commands(), third.slow) == (["cat mine.yaml"], False)
    assert (fourth.commands(), fourth.does_something) == ([], False)


def test_a_page_that_is_wrong_is_found_out(tmp_path: Path) -> None:
    wrong = fences("```bash\ncat nowhere\n```\n\n```python\nraise SystemExit(3)\n```\n")
    assert [problem.splitlines()[1].strip() for problem in follow(wrong, tmp_path, slow=False)] == [
        "exit code 1, not 0",
        "exit code 3, not 0",
    ]


def test_an_error_that_a_page_shows_has_to_be_the_one_that_is_printed(tmp_path: Path) -> None:
    shown = "<!-- test: exit 1 -->\n```console\n$ cat nowhere\nerror: no such file\n```\n"
    assert "not printed: error: no such file" in follow(fences(shown), tmp_path, slow=False)[0]


def test_files_are_there_before_the_commands_that_read_them(tmp_path: Path) -> None:
    assert follow(fences("```bash\ncat a/b.txt\n```\n```text title=a/b.txt\nx\n```\n"), tmp_path, slow=False) == []


@pytest.mark.parametrize(
    ("command", "count"),
    [
        ("make setup test", 0),
        ("make PYTHON=python3.12 setup", 0),
        ("make lunch", 1),
        ("git clone somewhere", 0),
        (".venv/bin/python bench/cli_startup.py", 0),
        (".venv/bin/python bench/nothing.py", 1),
        ("HF_HUB_OFFLINE=1 rlllm reason", 0),
        ("frobnicate", 1),
    ],
)
def test_lines_that_are_only_read_are_still_checked(command: str, count: int) -> None:
    assert len(complaints(command)) == count
