"""Model references: what `--model` may name, and what is said about a name that leads nowhere. No torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ExitCode, ModelError
from rlllm.core.runs import write_json
from rlllm.policies.loading import load_tokenizer
from rlllm.policies.model_sources import resolve_model


def fill(folder: Path, *leave_out: str) -> Path:
    """A folder that passes for a model, less some files."""
    folder.mkdir(parents=True)
    files = {"config.json": '{"model_type": "llama"}', "tokenizer.json": "{}", "model.safetensors": "weights"}
    for name in files.keys() - set(leave_out):
        (folder / name).write_text(files[name])
    return folder


def test_a_folder_is_itself(tmp_path: Path) -> None:
    source = resolve_model(str(fill(tmp_path / "m")))
    assert (source.kind, source.name, source.path, source.folder) == (
        "folder",
        "m",
        str(tmp_path / "m"),
        tmp_path / "m",
    )


def test_a_tilde_means_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(fill(tmp_path / "m").parent))
    assert resolve_model("~/m").path == str(tmp_path / "m")


def test_a_run_directory_means_its_model(tmp_path: Path) -> None:
    fill(tmp_path / "runs" / "r" / "model")
    write_json(tmp_path / "runs" / "r" / "status.json", {"state": "done"})
    source = resolve_model(str(tmp_path / "runs" / "r"))
    assert (source.kind, source.name, source.path) == ("run", "r", str(tmp_path / "runs" / "r" / "model"))


def test_weights_in_shards_are_found_by_their_index(tmp_path: Path) -> None:
    folder = fill(tmp_path / "m", "model.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")
    assert resolve_model(str(folder)).kind == "folder"


def test_an_organisation_and_a_name_are_a_hub_id() -> None:
    source = resolve_model("HuggingFaceTB/SmolLM2-135M")
    assert (source.kind, source.name, source.path, source.folder, source.fingerprint()) == (
        "hub",
        "SmolLM2-135M",
        "HuggingFaceTB/SmolLM2-135M",
        None,
        None,
    )


def test_nano_is_the_embedded_model(nano: str) -> None:
    source = resolve_model("nano")
    assert (source.kind, source.name, source.path) == ("nano", "nano", nano)


def test_the_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    folder = fill(tmp_path / "m")
    before = resolve_model(str(folder)).fingerprint()
    (folder / "model.safetensors").write_text("other weights")
    assert before != resolve_model(str(folder)).fingerprint()


BROKEN: list[tuple[str, Callable[[Path], object], str]] = [
    ("no-such-model", lambda p: None, "no such model: it is neither a folder nor a run"),
    ("mm", lambda p: fill(p / "mmm"), "hint: did you mean mmm?"),
    ("nanoo", lambda p: None, "hint: did you mean nano?"),
    ("runs/gone", lambda p: None, "no such model"),
    ("./org/name", lambda p: None, "no such model"),
    ("empty", lambda p: (p / "empty").mkdir(), "not a model folder: it has no config.json"),
    ("file.txt", lambda p: (p / "file.txt").write_text("x"), "not a model folder"),
    ("m", lambda p: fill(p / "m", "model.safetensors"), "has no *.safetensors weights"),
    ("m", lambda p: fill(p / "m", "model.safetensors"), "exists: config.json, tokenizer.json"),
    ("m", lambda p: fill(p / "m", "tokenizer.json"), "has no tokenizer"),
    ("m", lambda p: (fill(p / "m") / "config.json").write_text("{"), "the model folder cannot be read: config.json"),
    ("m", lambda p: (fill(p / "m") / "config.json").write_text("{}"), "config.json names no model_type"),
    ("m", lambda p: (fill(p / "m") / "config.json").write_text("[]"), "config.json names no model_type"),
    ("m", lambda p: (fill(p / "m") / "config.json").write_bytes(b"\xff\xfe"), "the model folder cannot be read"),
    ("r", lambda p: write_json(p / "r" / "status.json", {}), "that run has no model: it did not finish"),
    ("r", lambda p: write_json(p / "r" / "status.json", {}), "rlllm runs show r"),
]


@pytest.mark.parametrize(("reference", "prepare", "words"), BROKEN)
def test_a_reference_that_leads_nowhere_says_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: str,
    prepare: Callable[[Path], object],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    with pytest.raises(ModelError) as caught:
        resolve_model(reference)
    assert words in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_resolving_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import json, sys; from rlllm.policies.model_sources import resolve_model\n"
        "resolve_model(sys.argv[1]); print(json.dumps(sorted({'torch', 'transformers'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(fill(tmp_path / "m"))], capture_output=True, text=True)
    assert json.loads(done.stdout) == []


REVISIONS = [
    ("org/name", "org/name", None),
    ("org/name@main", "org/name", "main"),
    ("org/name-0.5B@refs/pr/3", "org/name-0.5B", "refs/pr/3"),
    ("org/name@0a1b2c3", "org/name", "0a1b2c3"),
]


@pytest.mark.parametrize(("reference", "path", "revision"), REVISIONS)
def test_a_revision_of_a_model_on_the_hub_stands_behind_its_name(
    reference: str, path: str, revision: str | None
) -> None:
    source = resolve_model(reference)
    assert (source.path, source.kind, source.revision, source.reference) == (path, "hub", revision, reference)
    assert source.parameter_count() == (5 * 10**8 if "0.5B" in path else None)


def test_a_revision_reaches_from_pretrained(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoConfig, AutoTokenizer, LlamaConfig

    asked: list[tuple[str, Any]] = []

    def configuration(path: str, **settings: Any) -> LlamaConfig:
        asked.append((path, settings.get("revision")))
        return LlamaConfig()

    def from_pretrained(path: str, **settings: Any) -> None:
        asked.append((path, settings.get("revision")))
        raise OSError("offline")

    monkeypatch.setattr(
        AutoConfig, "from_pretrained", configuration
    )  # by which a Hub id is known to read images or not
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", from_pretrained)
    for reference in ("org/name@step-1000", "org/name"):
        with pytest.raises(ModelError, match="offline"):
            load_tokenizer(resolve_model(reference))
    assert asked == [("org/name", "step-1000")] * 2 + [("org/name", None)] * 2
