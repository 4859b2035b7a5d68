"""A verb without anything to train shows usage; what is printed to be typed next runs as printed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Rlllm

from rlllm.core.outcome import Outcome
from rlllm.core.runs import Run, write_json
from rlllm_cli.usage import USAGE

BARE = ["", "--seed 1", "--output-dir runs/x", "output_dir=runs/x", "--overwrite", "--json"]


@pytest.mark.parametrize("verb", USAGE)
def test_a_bare_verb_shows_usage_and_starts_nothing(verb: str, rlllm: Rlllm) -> None:
    for words in BARE:
        said = rlllm(f"{verb} {words}")
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith(f"usage: rlllm {verb} [")
        assert [line.strip() for line in said.err.splitlines() if line.startswith("  ")] == [
            f"rlllm {example}" for example in USAGE[verb].examples
        ]
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("example", [example for usage in USAGE.values() for example in usage.examples])
def test_every_example_of_the_usage_can_be_planned(example: str, rlllm: Rlllm) -> None:
    said = rlllm(*shlex.split(example), "--dry-run")
    assert said.code == 0, said.err


CONCLUDE = """
import sys
from pathlib import Path
from types import SimpleNamespace

from rlllm.core.runs import Run
from rlllm.stages.pipeline.run import PipelineRun
from rlllm_cli.commands.pipelines import conclude
from rlllm_cli.invocation import Invocation

sys.argv = ["{program}", "demo"]
run = Run(Path("{run}"))
done = PipelineRun(run.path.parent, {{"reason": run}}, [], True)
conclude(done, SimpleNamespace(obj=Invocation(("demo",))), False)
"""


def test_the_last_lines_of_the_demo_run_as_printed_where_rlllm_is_not_on_the_path(tmp_path: Path, nano: str) -> None:
    """The shell of somebody who typed `make demo`: the program lies in .venv and not on PATH."""
    program = Path(sys.executable).with_name("rlllm")
    run = Run(tmp_path / "demo" / "reason")
    settings = {"model": "nano", "data": {"name": "arithmetic"}}
    write_json(run.path / "config.json", {"stage": "reason", "digest": "d", "command": "", "settings": settings})
    improved = Outcome("improved", "pass@1", {"estimate": 0.3, "low": 0.26, "high": 0.34}).to_json()
    write_json(run.path / "verdict.json", {"ok": True, "carried_out": True, "reasons": [], "outcome": improved})
    run.set_status("done")
    run.model.symlink_to(nano)
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}

    def shell(*words: str) -> str:
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = shell(sys.executable, "-c", CONCLUDE.format(program=program, run=run.path))
    lines = [line.split(maxsplit=1)[1] for line in said.splitlines() if line.startswith("next")]
    assert len(lines) == 3
    for line in lines:
        assert line.startswith(f"{program} ")
        assert json.loads(shell("sh", "-c", f"{line} --dry-run --json"))
