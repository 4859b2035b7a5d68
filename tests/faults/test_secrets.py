"""Secrets that are typed, or that the environment holds, stand in no file of a run and in nothing that is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlllm.core.addresses import refuse_keys_in_addresses
from rlllm.core.errors import ConfigError
from rlllm.core.redaction import without_keys, without_secrets

HUB = "hf_" + "aB3dE6gH9kL2mN5pQ8sT1vW4"
API = "sk-" + "proj-7Yq2Rt5Uw8Xz1Ac4Vb6Nm"
ENVIRONMENT = "planted-0f9e8d7c6b5a4f3e"
REWARD = """
import os
import zlib

def paid(sample, api_key=None):
    if zlib.crc32(sample.completion.encode()) % 41 == 0:
        raise ValueError("refused with " + os.environ["JUDGE_API_KEY"] + " and " + api_key)
    return len(sample.completion) % 5
"""


def test_planted_secrets_are_in_no_file_of_a_run_and_in_nothing_printed(tiny_model: str, tmp_path: Path) -> None:
    (tmp_path / "paid.py").write_text(REWARD)
    (tmp_path / "recipe.yaml").write_text(
        f"model: {tiny_model}\ndata: {{name: arithmetic, rows: 16, holdout: 0}}\nmethod: grpo\n"
        f"rewards: [{{name: '{tmp_path}/paid.py:paid', api_key: {API}, deadline: 0}}]\n"
        "rollout: {group_size: 4, max_new_tokens: 6}\n"
    )
    words = ["reason", "recipe.yaml", "--hub_token", HUB, "--max_steps", "4", "--save_steps", "2"]
    words += ["--per_device_train_batch_size", "16", "--learning_rate", "1e-3", "--output-dir", "run"]
    done = subprocess.run(
        [Path(sys.executable).with_name("rlllm"), *words],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        env={**os.environ, "JUDGE_API_KEY": ENVIRONMENT},
    )
    written = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert (tmp_path / "run" / "verdict.json") in written, done.stderr.decode()[-2000:]
    assert {path.parent.name for path in written} >= {"checkpoint-2", "checkpoint-4"}
    for secret in (HUB, API, ENVIRONMENT):
        assert [str(path) for path, content in written.items() if secret.encode() in content] == []
        assert secret.encode() not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "text",
    [
        f"rlllm sft --hub_token {HUB}",
        f"rlllm sft --hub-token={HUB}",
        f"hub_token: {HUB}",
        f'{{"api_key": "{API}"}}',
        f"Authorization: Bearer {API}",
        f"look at https://me:{API}@host/x",
        f"https://host/score?key={ENVIRONMENT}&n=1",
        f"client_secret = {ENVIRONMENT}",
    ],
)
def test_a_text_loses_its_secret(text: str) -> None:
    kept = without_secrets(text)
    assert "<redacted>" in kept
    assert not any(secret in kept for secret in (HUB, API, ENVIRONMENT))


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=96",
        "pad_token: <eos>",
        "key_env: JUDGE_KEY",
        "hub_token=null",
        "https://host/x?page=2",
        "a token is a word",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_keys(text) == text
    assert text == "hub_token=null" or without_secrets(text) == text


@pytest.mark.parametrize(
    "address", ["https://me:word@host/v1", f"http://host/score?key={ENVIRONMENT}", "https://h/?api_token=1"]
)
def test_a_key_in_an_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is shown in logs and reports"):
        refuse_keys_in_addresses({"rewards": [{"url": address}]})
