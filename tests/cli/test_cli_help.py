"""Help: it lists everything, in the order of a run's life, and costs next to nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Rlllm

import rlllm_cli
from rlllm import __version__
from rlllm.stages.catalog import STAGES

COMMANDS = {
    "Lifecycle": ["pretrain", "sft", "train-rm", "align", "reason", "eval"],
    "Look": ["plan", "compare", "report", "export", "claim", "verify", "chat", "runs", "traces", "doctor", "selftest"],
    "Parts": ["recipes", "methods", "rewards", "data"],
    "Whole": ["demo", "run", "sweep"],
}
NAMES = [name for names in COMMANDS.values() for name in names]
HEAVY = {"torch", "transformers", "trl", "datasets", "accelerate", "peft", "scipy", "sympy"}
ALLOWED_AT_MODULE_LEVEL = {"rlllm_cli", "typer", *sys.stdlib_module_names}


@pytest.mark.parametrize("terminal", [False, True])
def test_help_lists_every_command_in_its_panel(terminal: bool, rlllm: Rlllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: terminal, raising=False)
    said = rlllm("--help")
    assert (said.code, said.err) == (0, "")
    found: dict[str, list[str]] = {}
    for line in said.out.splitlines():
        text = re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│╭╮╰╯─: ")
        words = text.split()
        if words and words[0] in COMMANDS and len(words) == 1:
            found[words[0]] = []
        elif words and words[0] in NAMES and text.startswith(f"{words[0]}  "):  # and not a text that goes on with it
            found[next(reversed(found))].append(words[0])
    assert found == COMMANDS
    assert list(found) == list(COMMANDS)


def test_every_stage_of_the_catalog_is_a_lifecycle_command() -> None:
    assert list(STAGES) == COMMANDS["Lifecycle"]


@pytest.mark.parametrize("words", ["", "recipes", "runs", "methods", "rewards", "data"])
def test_a_group_without_a_command_shows_its_help(words: str, rlllm: Rlllm) -> None:
    said = rlllm(words)
    assert (said.code, said.err) == (0, "")
    assert said.out.lstrip().startswith(f"Usage: rlllm {words}".strip())


@pytest.mark.parametrize("command", NAMES)
def test_every_command_has_help(command: str, rlllm: Rlllm) -> None:
    for flag in ("--help", "-h"):
        said = rlllm(command, flag)
        assert (said.code, said.err) == (0, "")
        assert f"Usage: rlllm {command}" in said.out


@pytest.mark.parametrize("verb", STAGES)
def test_a_verb_documents_its_settings(verb: str, rlllm: Rlllm) -> None:
    said = rlllm(verb, "--help")
    assert said.out.startswith(f"Usage: rlllm {verb}")
    for key in ("model", "output_dir", "seed"):
        assert f"\n{key} " in said.out
    assert "`nano`, a folder, a Hub id, a run directory, or a folder with an adapter" in " ".join(said.out.split())


HELP = [
    ("train-rm", {"eval.rows"}, {"rollout.group_size", "critic.init", "sandbox", "members", "rubric"}),
    ("train-rm --method ensemble", {"members"}, {"rollout.group_size", "rubric"}),
    ("train-rm kind=generative", {"rubric", "rollout.group_size"}, {"members", "critic.init"}),
    ("train-rm process", {"eval.rows"}, {"rubric"}),
    ("align", {"rollout.temperature", "eval_reward"}, {"rollout.group_size", "advantage", "iterations"}),
    ("align --method=spin", {"iterations", "rollout.group_size"}, {"advantage"}),
    ("align method=ppo", {"critic.init", "kl.where"}, {"iterations", "environment"}),
    ("reason", {"environment", "critic.share_backbone"}, {"critic.init", "eval_reward"}),
    ("sft", {"lora.r"}, {"kl.target", "rewards"}),
]


@pytest.mark.parametrize(("words", "shown", "hidden"), HELP)
def test_help_lists_what_the_method_reads_and_nothing_else(
    words: str, shown: set[str], hidden: set[str], rlllm: Rlllm
) -> None:
    said = rlllm(*words.split(), "--help")
    keys = {line.split()[0] for line in said.out.splitlines() if line[:1].isalpha()}
    assert shown <= keys
    assert keys.isdisjoint(hidden)


def test_help_of_a_method_that_does_not_exist_says_so(rlllm: Rlllm) -> None:
    said = rlllm("align", "--help", "--method", "dpoo")
    assert (said.code, "did you mean dpo?" in said.err) == (2, True)


def test_version(rlllm: Rlllm) -> None:
    assert rlllm("--version").out == f"rlllm {__version__}\n"


def test_module_level_imports_are_typer_and_the_standard_library() -> None:
    folder = Path(rlllm_cli.__file__).parent
    found = []
    for path in folder.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] not in ALLOWED_AT_MODULE_LEVEL]
    assert found == []


def imported(*words: str, cwd: Path) -> set[str]:
    """Top-level packages that one command line imports in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rlllm_cli", *words], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}


# how many seconds it takes is measured by bench/cli_startup.py: a busy machine must not fail a test
def test_help_imports_neither_the_toolkit_nor_its_libraries(tmp_path: Path) -> None:
    assert imported("--help", cwd=tmp_path).isdisjoint({*HEAVY, "pydantic", "yaml", "numpy", "PIL", "jinja2"})


def test_a_dry_run_imports_no_heavy_library(tmp_path: Path, model: str) -> None:
    found = imported("reason", "--dry-run", "--model", model, cwd=tmp_path)
    assert "rlllm" in found
    assert found.isdisjoint({*HEAVY, "asyncio"})
