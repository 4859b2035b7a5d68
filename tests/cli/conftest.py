"""The command line in this process: words in, exit code and both streams out, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Rlllm, Said

from rlllm_cli.main import run


@pytest.fixture
def rlllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rlllm:
    """Runs a command line in `tmp_path`; one string is split at blanks, several are words as they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RLLLM_TRACEBACK", raising=False)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*words: str) -> Said:
        capsys.readouterr()
        code = run(words[0].split() if len(words) == 1 else words)
        streams = capsys.readouterr()
        return Said(code, streams.out, streams.err)

    return call


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder that passes for a model as long as nobody loads it."""
    folder = tmp_path / "some-model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).touch()
    return str(folder)
