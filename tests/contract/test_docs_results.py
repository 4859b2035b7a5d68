"""Measured numbers in the documentation are rendered from `docs/results/`, and nowhere else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from docs_pages import ROOT

from rlllm_cli.results import PageError, age, pages, render, without_blocks, write

MEASURED = re.compile(
    r"""
    \d\s?±\s?\d                                           # 0.66 ± 0.01
    | \[-?\d*\.\d+,\s?-?\d*\.\d+\]                         # [0.61, 0.70]
    | (?<![\w.-])[-+]?[01]?\.(?!00)\d{3,}\b               # 0.659, but not 0.001
    | \b\d[\d.,]*\s?(?:x|times)\s(?:faster|slower|as\s(?:fast|slow|much|many)|more|less|the\s(?:speed|tokens))
    | \b\d[\d.,]*\s(?:s|ms|GB|MB)\b                        # 12.4 s
    | \b\d[\d.,]*\s(?:tokens|pairs|programs)\sa\ssecond
    | \b\d[\d.]*\spoints\s(?:above|below|better|worse)
    | \b(?:takes?|took|in)\s(?:about\s)?\d[\d.,]*\s(?:seconds|minutes)
    """,
    re.VERBOSE,
)
"""What a measured number looks like."""
HISTORY = {"decisions.md"}
"""Dated paragraphs, whose numbers are those of their day."""
SET = {
    "README.md": ["24 GB"],
    "docs/guides/data.md": ["0.045"],
    "docs/guides/gsm8k.md": ["24 GB", "2 GB", "6 GB"],
    "docs/guides/judges.md": ["60 s", "1 s"],
    "docs/guides/physics.md": ["2 s"],
    "docs/guides/rewards.md": ["256 MB", "16 MB", "0.333", "0.333333"],
    "docs/guides/sandbox.md": ["20 ms"],
    "docs/guides/reward-replay.md": ["0.025"],
    "docs/scale.md": ["80 GB"],
    "docs/methods/ict.md": ["0.375", "0.216", "0.380", "0.497", "3 GB"],
}
"""Numbers that only look so: limits and settings that somebody chose, and terms of a formula."""
FILES = sorted((ROOT / "docs" / "results").glob("*.json"))
_FENCES = re.compile(r"^ *```.*?^ *```$|<!--.*?-->", re.MULTILINE | re.DOTALL)
ROW = {"estimate": 0.6589, "low": 0.61, "high": 0.7}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one page and one results file."""
    (tmp_path / "docs" / "results").mkdir(parents=True)
    for name in ("README.md", "CONTRIBUTING.md"):
        (tmp_path / name).write_text("")
    results = {
        "arms": {"grpo": {"after": ROW}, "gs.po": {"after": {**ROW, "low": None, "high": None}}},
        "comparisons": [{"arm": "gs.po", "difference": -0.042}],
        "speed": [2.0, 3.5, 2.5],
        "share": 0.31,
    }
    file = {"command": "python bench/x.py --big", "recorded": "2026-11-28", "code": None, "results": results}
    (tmp_path / "docs" / "results" / "x.json").write_text(json.dumps(file))
    return tmp_path


def rendered(project: Path, text: str) -> str:
    page = project / "docs" / "page.md"
    page.write_text(text)
    return render(page, project)


def test_every_page_is_as_its_files_have_it() -> None:
    differing = [str(page.relative_to(ROOT)) for page in pages(ROOT) if render(page, ROOT) != page.read_text("utf-8")]
    assert differing == [], "run: make reference"


@pytest.mark.parametrize("page", [page for page in pages(ROOT) if page.name not in HISTORY], ids=lambda page: page.stem)
def test_a_number_that_looks_measured_is_rendered_from_a_file(page: Path) -> None:
    text = _FENCES.sub("", without_blocks(page.read_text(encoding="utf-8")))
    found = {match.group() for match in MEASURED.finditer(text)}
    assert found - set(SET.get(str(page.relative_to(ROOT)), [])) == set(), (
        "put it into docs/results, see CONTRIBUTING.md"
    )


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ("0.66 ± 0.01", True),
        ("a gain of 0.2 [0.1, 0.3]", True),
        ("pass@1 of 0.659", True),
        ("2.4 times faster", True),
        ("a run takes 12.4 s", True),
        ("learning rate 1e-4, beta 0.04, 95 % intervals", False),
        ("arXiv 2402.03300, TRL 1.16.0", False),
        ("clip(x, ±0.2)", False),
    ],
)
def test_what_looks_measured(text: str, looks: bool) -> None:
    assert bool(MEASURED.search(text)) is looks


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_by_what_and_when_it_was_recorded_and_a_page_shows_it(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert {"command", "recorded", "commit", "versions", "hardware", "code", "results"} <= content.keys()
    assert (ROOT / content["command"].split()[1]).is_file(), content["command"]
    assert any(f": {path.stem} " in page.read_text(encoding="utf-8") for page in pages(ROOT))


def test_a_table_has_a_row_for_each_item_and_names_its_command(project: Path) -> None:
    text = (
        "<!-- results: x each arms\nmethod = `{key}`\npass@1 = {after:interval.2}\nshort = {after:interval.1}\n"
        "over = {^comparisons[arm=$key].difference?:+.2f}\n-->\nold\n<!-- /results -->\n"
    )
    assert rendered(project, text).splitlines()[7:14] == [
        "| method | pass@1 | short | over |",
        "|---|---|---|---|",
        "| `grpo` | 0.66 [0.61, 0.70] | 0.7 [0.6, 0.7] |  |",
        "| `gs.po` | 0.66 | 0.7 | -0.04 |",
        "",
        "Recorded 2026-11-28 by `python bench/x.py --big`: [x.json](results/x.json).",
        "",
    ]


def test_rows_can_be_chosen_by_their_values(project: Path) -> None:
    text = "<!-- results: x each comparisons where arm=gs.po,other\narm = {arm}\n-->\n<!-- /results -->"
    assert "| gs.po |" in rendered(project, text)
    with pytest.raises(PageError, match="no row"):
        rendered(project, text.replace("gs.po", "none"))


def test_numbers_stand_in_sentences_and_in_free_text(project: Path) -> None:
    text = "It is <!-- r: x {arms.grpo.after.estimate:.3f} -->?<!-- /r -->."
    assert rendered(project, text) == "It is <!-- r: x {arms.grpo.after.estimate:.3f} -->0.659<!-- /r -->."
    block = (
        '<!-- results: x text\n{speed:range.1}, {speed:list.0}, {share:.0%}, {arms."gs.po".after:+interval.1}\n-->\n'
    )
    shown = rendered(project, f"{block}<!-- /results -->")
    assert "2.5 (2.0 to 3.5), 2, 4, 2, 31 %, +0.7" in shown


def test_a_block_can_wait_for_its_file(project: Path) -> None:
    block = "<!-- results: y? text\n{steps} steps\n-->\n<!-- /results -->\n"
    assert "Not recorded yet." in rendered(project, block)
    file = {"command": "python bench/y.py", "recorded": "2026-11-29", "code": None, "results": {"steps": 12}}
    (project / "docs" / "results" / "y.json").write_text(json.dumps(file))
    shown = rendered(project, rendered(project, block))
    assert "12 steps" in shown
    assert "Not recorded" not in shown
    with pytest.raises(PageError, match="no results file"):
        rendered(project, block.replace("y?", "z"))


def test_rendering_twice_changes_nothing(project: Path) -> None:
    page = project / "docs" / "page.md"
    page.write_text("<!-- results: x each arms\nmethod = {key}\n-->\n<!-- /results -->\n")
    assert write(project) == [page]
    assert write(project) == []


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("{nothing}", "x has no nothing"),
        ("{comparisons[arm=none].difference}", r"x has no comparisons\[arm=none\]"),
        ("{speed.7}", "x has no speed.7"),
        ("{share:interval.2}", "does not fit the format interval.2"),
        ("{arms:.2f}", "does not fit the format .2f"),
    ],
)
def test_a_block_that_fits_nothing_is_refused_by_page_file_and_path(project: Path, cell: str, message: str) -> None:
    with pytest.raises(PageError, match=rf"docs/page.md: .*{message}"):
        rendered(project, f"<!-- r: x {cell} -->?<!-- /r -->")


def test_a_page_that_names_no_file_is_refused(project: Path) -> None:
    with pytest.raises(PageError, match=r"no results file docs/results/y\.json"):
        rendered(project, "<!-- r: y {a} -->?<!-- /r -->")


def test_a_file_is_old_when_what_it_measures_runs_otherwise(tmp_path: Path) -> None:
    from rlllm.core.code_hash import code_hash

    code = tmp_path / "code.py"
    code.write_text('"""Text."""\nX = 1  # why\n')
    content = {"code": {"code.py": code_hash([code], tmp_path)}}
    assert age(content, tmp_path) == ""
    code.write_text('"""Another text."""\nX = (1)\n')
    assert age(content, tmp_path) == ""
    code.write_text("X = 2\n")
    assert age(content, tmp_path) == "the code changed since: code.py"
    code.unlink()
    assert age(content, tmp_path) == "measured code that is gone: code.py"
    assert age({"code": None}, tmp_path) == "made with other code, or before code was hashed"
