"""`docs/reference/` is what the code says: the committed pages equal those that `make reference` would write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import ROOT

from rlllm_cli.reference import pages, write

FOLDER = ROOT / "docs" / "reference"
NEVER = ("torch", "transformers", "trl", "datasets", "numpy")


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages()


def test_the_committed_pages_are_current(made: dict[str, str]) -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert sorted(committed) == sorted(made), "run: make reference"
    assert [name for name, text in made.items() if committed[name] != text] == [], "run: make reference"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("sft.md", "| `data.holdout` | integer or number or null |"),
        ("reason.md", "| `rollout.group_size` | integer >= 1 | `8` |"),
        ("methods.md", "[arXiv 2402.03300](https://arxiv.org/abs/2402.03300)"),
        ("rewards.md", "| `relative` | `float` | `0.0` | largest difference, as a share of the larger of the two. |"),
        ("commands.md", "## rlllm data label-prefs"),
        (
            "python.md",
            "| `advantages` | `Tensor \\| None` | `None` | (B,) or (B, T) float: what the advantage estimator returned",
        ),
        (
            "python.md",
            "| `summed_reward: Tensor` | (B,) weighted sum of the rewards that judged; NaN where none did. |",
        ),
        ("exit-codes.md", "| `RewardError` | 1 |"),
        ("trl-fields.md", "| `learning_rate` | float |"),
    ],
)
def test_a_page_holds_types_defaults_and_texts(made: dict[str, str], page: str, text: str) -> None:
    assert text in made[page]


def test_every_page_is_in_the_index(made: dict[str, str]) -> None:
    assert [name for name in made if name != "README.md" and f"]({name})" not in made["README.md"]] == []


def test_writing_removes_what_is_stale_and_touches_nothing_that_is_current(tmp_path: Path) -> None:
    (tmp_path / "old.md").write_text("gone")
    assert tmp_path / "old.md" in write(tmp_path)
    assert not (tmp_path / "old.md").exists()
    assert write(tmp_path) == []


def test_no_model_library_is_loaded() -> None:
    code = f"import sys, rlllm_cli.reference as r; r.pages(); print([name for name in {NEVER} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
