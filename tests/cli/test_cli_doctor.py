"""`rlllm doctor`: versions that were tested, disk, switches, layers of the sandbox, and the end tokens of a model."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from command_line import Rlllm

from rlllm.policies.model_sources import NANO
from rlllm.sandbox import missing_layers

ROOT = Path(__file__).resolve().parents[2]


def test_versions_are_compared_with_those_that_were_tested(rlllm: Rlllm) -> None:
    said = rlllm("doctor --json").json["diagnostics"]["tested with"]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    others = [name for name in ("torch", "transformers", "trl") if version(name).partition("+")[0] != pins[name]]
    assert all(f"{name} {pins[name]}" in said for name in others)
    assert others or said == "just these versions" or said.startswith("other versions: ")


def test_switches_disk_and_extras_are_listed(rlllm: Rlllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_not_to_be_shown")
    said = rlllm("doctor --json")
    found = said.json["diagnostics"]
    assert "HF_HUB_OFFLINE=1" in found["switches"]
    assert "DO_NOT_TRACK=1" in found["switches"]
    assert (found["HF_TOKEN"], "hf_not_to_be_shown" in said.out) == ("set", False)
    assert "GB free in" in found["disk"]
    assert "gguf" in found["others"]


def test_every_layer_of_the_sandbox_is_named(rlllm: Rlllm) -> None:
    found = rlllm("doctor --deep --json").json["diagnostics"]
    states = {name.removeprefix("sandbox: "): text for name, text in found.items() if name.startswith("sandbox: ")}
    assert {"user namespace", "landlock", "seccomp", "file view"} <= set(states)
    assert all(state == "holds" for state in states.values()) is not bool(missing_layers())


def test_a_model_is_checked_without_its_weights(rlllm: Rlllm, tmp_path: Path) -> None:
    shutil.copytree(NANO, tmp_path / "m")
    said = rlllm("doctor", "--json", "--model", str(tmp_path / "m")).json
    assert said["diagnostics"]["ends at"] == "<|end|>"
    assert [text for text in said["warnings"] if "template" in text] == []


def test_a_template_that_ends_turns_with_another_token_is_found(rlllm: Rlllm, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(NANO, folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "eos_token": "<|pad|>"}), encoding="utf-8")
    generation = {"eos_token_id": None}
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    said = rlllm("doctor", "--json", "--model", str(folder))
    assert said.code == 1
    assert any("ends a turn with <|end|>, which is no stop token" in text for text in said.json["warnings"])


def test_a_model_that_does_not_exist_is_an_error_of_use(rlllm: Rlllm) -> None:
    assert rlllm("doctor --model no-such-model").code == 2
