"""Shell completion, asked for as bash asks: words so far, and where the cursor is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def complete(line: str, cwd: Path) -> list[str]:
    words = line.split(" ")
    environment = {
        **os.environ,
        "_RLLLM_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    driver = "import sys; from rlllm_cli.main import run; sys.exit(run([]))"
    done = subprocess.run([sys.executable, "-c", driver], cwd=cwd, env=environment, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rlllm re", {"reason", "report", "recipes", "rewards"}),
        ("rlllm runs ", {"diff", "ls", "prove-resume", "show"}),
        ("rlllm reason --me", {"--method"}),
        ("rlllm reason --method gs", {"gspo"}),
        ("rlllm reason --reward ex", {"exact"}),
        ("rlllm reason --data arith", {"arithmetic"}),
        ("rlllm reason learning_ra", {"learning_rate="}),
        ("rlllm reason rollout.gr", {"rollout.group_size="}),
        ("rlllm methods show cis", {"cispo"}),
        ("rlllm methods ls --stage tr", {"train-rm"}),
    ],
)
def test_names_are_completed(line: str, expected: set[str], tmp_path: Path) -> None:
    assert set(complete(line, tmp_path)) == expected


def test_recipes_of_the_verb_are_completed(tmp_path: Path) -> None:
    (info := tmp_path / "quick-1.0.dist-info").mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: quick\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rlllm.recipes]\nquick = quick\n")
    for name in ("reason/zebra", "align/zealot"):
        (tmp_path / "quick" / name).parent.mkdir(parents=True)
        (tmp_path / "quick" / f"{name}.yaml").write_text("seed: 1\n")
    assert complete("rlllm reason ze", tmp_path) == ["zebra"]
    assert set(complete("rlllm recipes show reason/ze", tmp_path)) == {"reason/zebra"}
