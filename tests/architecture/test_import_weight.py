"""What a user waits for before anything happens stays light: help, listings, settings and data load nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from source_graph import eager_chains, expect_none, graph, imports_of, modules

HEAVY = {
    "accelerate",
    "datasets",
    "huggingface_hub",
    "math_verify",
    "numpy",
    "pandas",
    "peft",
    "pyarrow",
    "reasoning_gym",
    "safetensors",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
}
LIGHT_ROOMS = ("rlllm.core", "rlllm.data", "rlllm.rewards", "rlllm.stages", "rlllm.algorithms.methods", "rlllm_cli")
HEAVY_PARTS = ("rlllm.data.prepare",)
"""Packages of light rooms that are heavy as a whole, and so imported inside of functions only."""
NEVER_FOR_A_LOOK = ("torch", "transformers", "trl", "datasets")
DRIVER = f"""
import json, sys
from rlllm_cli.main import run
code = run()
loaded = [name for name in {NEVER_FOR_A_LOOK} if name in sys.modules]
print(json.dumps({{"code": code, "loaded": loaded}}), file=sys.stderr)
"""


def light_roots() -> list[str]:
    rooms = [name for name in modules() if _within(name, LIGHT_ROOMS) and not _within(name, HEAVY_PARTS)]
    return ["rlllm", *rooms, *(name for name in modules() if name.endswith(".config"))]


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_no_light_module_reaches_a_heavy_package_at_import_time() -> None:
    edges = graph()
    heavy = [
        f"{' -> '.join(chain)} -> {edge.target} (line {edge.line})"
        for module, chain in eager_chains(light_roots(), edges).items()
        for edge in edges[module]
        if edge.when == "import" and edge.top in HEAVY
    ]
    expect_none(heavy)


def test_the_rule_itself_follows_chains_and_ignores_what_waits() -> None:
    sources = {
        "a": "import a.b",
        "a.b": "from a import c\ndef f():\n    import a.d",
        "a.c": "try:\n    import torch\nexcept ImportError:\n    pass",
        "a.d": "import scipy",
    }
    edges = {name: list(imports_of(name, text, sources, package=name == "a")) for name, text in sources.items()}
    assert eager_chains(["a"], edges) == {"a": ["a"], "a.b": ["a", "a.b"], "a.c": ["a", "a.b", "a.c"]}


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "recipes ls",
        "rewards ls",
        "methods ls",
        "metrics ls",
        "sft --dry-run",
        "train-rm --dry-run",
        "align --dry-run",
        "reason --dry-run",
        "eval --dry-run",
    ],
)
def test_a_look_loads_no_model_library(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *command.split()],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    outcome = json.loads(done.stderr.splitlines()[-1])
    assert outcome == {"code": 0, "loaded": []}, done.stderr
