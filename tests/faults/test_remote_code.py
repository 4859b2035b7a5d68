"""A folder or repository of a model may hold Python code. None of it runs unless `model.trust_remote_code` names the model."""

from __future__ import annotations

import ast
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlllm_cli.main import run

ROOT = Path(__file__).resolve().parents[2]
_EVIL = """
from pathlib import Path
Path({ran!r}).open("a").write("{what} ")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class OwnConfig(LlamaConfig):
    model_type = "own-llama"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
class OwnTokenizer(PreTrainedTokenizerFast):
    pass
def generate(model, *args, **kwargs):
    raise NotImplementedError
"""
_OF_CONFIG = {"AutoConfig": "evil_model.OwnConfig", "AutoModelForCausalLM": "evil_model.OwnModel"}


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """The file that hostile code writes."""
    return tmp_path / "ran"


@pytest.fixture
def hostile(tiny_model: str, tmp_path: Path, ran: Path) -> Path:
    """A model of an architecture that transformers lacks, with code for its weights, tokenizer and generation."""
    folder = tmp_path / "hostile"
    shutil.copytree(tiny_model, folder)
    _rewrite(folder / "config.json", model_type="own-llama", architectures=["OwnModel"], auto_map=_OF_CONFIG)
    _with_code_in_tokenizer(folder, ran)
    (folder / "evil_model.py").write_text(_EVIL.format(ran=str(ran), what="model"))
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(_EVIL.format(ran=str(ran), what="generate"))
    return folder


def _with_code_in_tokenizer(folder: Path, ran: Path) -> None:
    (folder / "evil_tokenizer.py").write_text(_EVIL.format(ran=str(ran), what="tokenizer"))
    own = {"AutoTokenizer": [None, "evil_tokenizer.OwnTokenizer"]}
    _rewrite(folder / "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map=own)


def _rewrite(path: Path, **more: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def _words(folder: Path, output: Path, *more: str) -> list[str]:
    words = ["sft", "--model", str(folder), "--data", "arithmetic#40", "--max_steps", "1", "--max_length", "64"]
    return [*words, "eval.rows=2", *more, "--output-dir", str(output)]


def test_code_for_a_model_is_refused_before_anything_starts(
    hostile: Path, ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*_words(hostile, tmp_path / "run"), "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "defined by Python code in its repository, which is not run" in said
    assert f"model.trust_remote_code={hostile}" in said
    assert not ran.exists()


def test_code_for_a_tokenizer_is_refused(
    tiny_model: str, ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tokenizer"
    shutil.copytree(tiny_model, folder)
    _with_code_in_tokenizer(folder, ran)
    code = run(_words(folder, tmp_path / "run"))
    said = capsys.readouterr().err
    assert not ran.exists()
    assert code == 0 or "in its repository, which is not run" in said


@pytest.mark.parametrize(
    "verb", [["chat", "--prompt", "2+3="], ["eval", "--data", "arithmetic#4"], ["export", "--merge"]]
)
def test_no_verb_runs_code_of_a_model(
    verb: list[str], hostile: Path, ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = [str(hostile)] if verb[0] == "export" else ["--model", str(hostile)]
    assert run([verb[0], *model, *verb[1:]]) != 0
    assert not ran.exists()


def test_no_reward_or_judge_runs_code_of_a_model(hostile: Path, ran: Path, tmp_path: Path) -> None:
    reward = json.dumps([{"name": "model", "path": str(hostile)}])
    words = ["reason", "--model", "nano", "--data", "arithmetic#16", f"rewards={reward}", "--max_steps", "1"]
    assert run([*words, "--output-dir", str(tmp_path / "run")]) != 0
    assert not ran.exists()


def test_yes_on_a_terminal_runs_no_code(hostile: Path, ran: Path, tmp_path: Path) -> None:
    known = {**json.loads((hostile / "config.json").read_text()), "model_type": "llama"}
    for number, folder in enumerate((hostile, tmp_path / "known")):
        if number:
            shutil.copytree(hostile, folder)
            (folder / "config.json").write_text(json.dumps(known))
        main, terminal = pty.openpty()
        os.write(main, b"yes\n" * 20)
        command = [sys.executable, "-m", "rlllm_cli", *_words(folder, tmp_path / f"run{number}")]
        done = subprocess.run(command, stdin=terminal, capture_output=True, timeout=300, cwd=tmp_path)
        os.close(terminal)
        os.close(main)
        assert b"[y/N]" not in done.stdout + done.stderr
        assert done.returncode == 0 or b"in its repository, which is not run" in done.stderr
        assert not ran.exists(), done.stderr[-2000:]


def test_code_of_a_model_that_is_named_runs_and_is_recorded(
    hostile: Path, ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_words(hostile, tmp_path / "run", f"model.trust_remote_code={hostile}")) == 0
    assert {"model", "tokenizer"} <= set(ran.read_text().split())
    assert f"Python code of {hostile} runs here" in capsys.readouterr().err
    recorded = json.loads((tmp_path / "run" / "lineage.json").read_text())["model"]
    assert recorded["trust_remote_code"] == str(hostile)


def test_code_under_an_adapter_runs_where_its_base_is_named(hostile: Path, ran: Path, tmp_path: Path) -> None:
    trusting = f"model.trust_remote_code={hostile}"
    assert run(_words(hostile, tmp_path / "adapter", trusting, "lora.r=2")) == 0
    ran.unlink()
    assert run([*_words(tmp_path / "adapter", tmp_path / "again"), "--dry-run"]) == 2
    assert not ran.exists()
    assert (
        run(_words(tmp_path / "adapter", tmp_path / "base", trusting)) == 2
    )  # the adapter has a copy of the tokenizer's code
    both = f"model.trust_remote_code={tmp_path / 'adapter' / 'model'}@{hostile}"
    assert run(_words(tmp_path / "adapter", tmp_path / "again", both)) == 0


@pytest.mark.parametrize(
    ("value", "said"), [("nano", "names another repository"), ("true", "by the name of its repository")]
)
def test_the_name_of_another_model_trusts_nothing(
    value: str, said: str, hostile: Path, ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*_words(hostile, tmp_path / "run", f"model.trust_remote_code={value}"), "--dry-run"]) == 2
    assert said in capsys.readouterr().err
    assert not ran.exists()


_WITHOUT_CODE = {"GenerationConfig", "PeftConfig", "PeftModel"}
_OF_A_CLASS_IN_MEMORY = {"type(own)"}


def test_every_loading_in_the_source_says_whether_code_may_run() -> None:
    silent = []
    for path in sorted((*(ROOT / "src").rglob("*.py"), *(ROOT / "cli").rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "from_pretrained"
            ):
                owner, said = ast.unparse(node.func.value), {keyword.arg for keyword in node.keywords}
                if owner not in _WITHOUT_CODE | _OF_A_CLASS_IN_MEMORY and "trust_remote_code" not in said:
                    silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
    assert not silent
