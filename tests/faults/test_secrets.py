"""Secrets that are typed, or that the environment holds, stand in no file of a run and in nothing that is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from rlllm.core.addresses import refuse_keys_in_addresses
from rlllm.core.errors import ConfigError
from rlllm.core.redaction import without_keys, without_secrets

HUB = "hf_" + "aB3dE6gH9kL2mN5pQ8sT1vW4"
API = "sk-" + "proj-7Yq2Rt5Uw8Xz1Ac4Vb6Nm"
FOREIGN = "ghp_" + "Zk3Lq8Wn5Xv2Bt7Rj4Hs9Md6Pf1"
"""In nobody's settings and no variable: a server's, in the text of an exception."""
ENVIRONMENT = "planted-0f9e8d7c6b5a4f3e"
PLAIN = "a plain word of a key"
"""The value of a variable that only `key_env` calls a key."""
PLANTED = (HUB, API, FOREIGN, ENVIRONMENT, PLAIN)
REWARD = f"""
import itertools
import os

calls = itertools.count()

def paid(sample, api_key=None):
    if next(calls) % 30 == 20:
        raise ValueError("refused with " + os.environ["JUDGE_API_KEY"] + " and " + api_key + " and {FOREIGN}")
    return len(sample.completion) % 5

def refused(sample, api_key=None):
    raise ValueError("refused with " + os.environ["JUDGE_API_KEY"] + " and " + api_key + " and {FOREIGN}")
"""
SETTINGS = "per_device_train_batch_size=16 learning_rate=1e-3 num_generations=4 max_new_tokens=6"


def typed(folder: Path, words: str) -> bytes:
    """What a command printed that was typed in `folder`."""
    done = subprocess.run(
        [Path(sys.executable).with_name("rlllm"), *words.split()],
        cwd=folder,
        capture_output=True,
        check=False,
        env={**os.environ, "JUDGE_API_KEY": ENVIRONMENT, "SCORER": PLAIN},
    )
    return done.stdout + done.stderr


def leaks(printed: bytes, *places: Path) -> list[str]:
    """Where a planted secret stands."""
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file()]
    texts = {"what was printed": printed, **{str(file): file.read_bytes() for file in files}}
    return [f"{name}: {secret}" for name, text in texts.items() for secret in PLANTED if secret.encode() in text]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a recipe with a key, and the reward that it names."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "paid.py").write_text(REWARD)
    (folder / "paid.yaml").write_text(
        "# rlllm reason FILE\nmodel: nano\ndata: {name: arithmetic, rows: 16, holdout: 0}\nmethod: grpo\n"
        f"rewards: [{{name: '{folder}/paid.py:paid', api_key: {API}}}]\n"
    )
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> bytes:
    """What a run in `folder` printed."""
    return typed(folder, f"reason paid.yaml --hub_token {HUB} {SETTINGS} --max_steps 4 --save_steps 2 --output-dir run")


def test_planted_secrets_are_in_no_file_of_a_run_and_in_nothing_printed(folder: Path, trained: bytes) -> None:
    run = folder / "run"
    assert (run / "verdict.json").exists(), trained.decode()[-2000:]
    assert list(run.rglob("checkpoint-2"))
    assert "refused with <redacted> and <redacted> and <redacted>" in (run / "quarantine.jsonl").read_text()
    assert leaks(trained, run) == []


def test_what_is_given_away_of_a_run_holds_no_secret(folder: Path, trained: bytes) -> None:
    # a run of an older version, or of another tool, may hold what this one would not have written
    config = json.loads((folder / "run" / "config.json").read_text())
    (folder / "older").mkdir()
    for file in (folder / "run").iterdir():
        (folder / "older" / file.name).symlink_to(file)
    (folder / "older" / "config.json").unlink()
    config["command"] = f"rlllm reason --hub_token {HUB} --reward paid.py:paid"
    (folder / "older" / "config.json").write_text(json.dumps(config))
    printed = typed(folder, "claim older --output given.claim.json")
    printed += typed(folder, "report older --output given.html")
    printed += typed(folder, "export older --card")
    printed += typed(folder, "runs show older") + typed(folder, "runs show older --samples last --json")
    given = [folder / name for name in ("given.claim.json", "given.html", "run/model/README.md")]
    assert all(place.is_file() for place in given), printed.decode()
    assert leaks(printed, *given) == []


def test_a_traceback_holds_no_secret(folder: Path) -> None:
    (folder / "broken.py").write_text(f"import os\nraise ValueError('{FOREIGN} and ' + os.environ['JUDGE_API_KEY'])\n")
    traceback = typed(folder, f"reason paid.yaml --reward broken.py:paid {SETTINGS} --dry-run --traceback")
    assert b"Traceback (most recent call last)" in traceback
    assert b"ValueError: <redacted> and <redacted>" in traceback
    assert leaks(traceback) == []


@pytest.mark.slow
def test_sweeps_and_pipelines_hold_no_secret(folder: Path) -> None:
    swept = typed(
        folder,
        f"sweep paid.yaml hub_token={HUB} {SETTINGS} max_steps=2 data.holdout=4 eval.rows=4 --seeds 2 --output-dir swept",
    )
    assert (folder / "swept" / "results.json").exists(), swept.decode()[-2000:]
    (folder / "steps.yaml").write_text(
        f"title: two steps\nmodel: nano\ndata: {{name: arithmetic, rows: 16, holdout: 0}}\nsteps:\n"
        f"  - {{name: one, stage: reason, method: grpo, trainer: {{max_steps: 2, hub_token: {HUB}}},\n"
        f"     rewards: [{{name: '{folder}/paid.py:paid', api_key: {API}}}]}}\n"
        f"  - {{name: two, stage: reason, method: grpo, model: '@one', trainer: {{max_steps: 2}},\n"
        f"     rewards: [{{name: '{folder}/paid.py:refused', api_key: {API}}}]}}\n"
    )
    piped = typed(folder, "run steps.yaml --output-dir piped")
    assert (folder / "piped" / "two" / "status.json").exists(), piped.decode()[-2000:]
    assert leaks(swept + piped, folder / "swept", folder / "piped") == []


class Repeats(BaseHTTPRequestHandler):
    """A server that refuses, and shows what it was asked with."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = f"{self.headers['Authorization']} is no key, {FOREIGN} is, \x1b[31m\x9b2J\u202e".encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("reward", ["remote, url", "judge, model: any, endpoint"])
def test_a_server_that_repeats_the_key_brings_neither_it_nor_escapes_into_a_message(folder: Path, reward: str) -> None:
    name = reward.partition(",")[0]
    with ThreadingHTTPServer(("127.0.0.1", 0), Repeats) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        (folder / f"{name}.yaml").write_text(
            "model: nano\ndata: {name: arithmetic, rows: 16, holdout: 0}\nmethod: grpo\n"
            f"rewards: [{{name: {reward}: 'http://127.0.0.1:{server.server_port}', key_env: SCORER}}]\n"
        )
        printed = typed(folder, f"reason {name}.yaml {SETTINGS} --max_steps 2 --output-dir {name}")
        server.shutdown()
    assert rb"HTTP 403: Bearer <redacted> is no key, <redacted> is, \x1b[31m\x9b2J\u202e" in printed
    assert b"\x1b" not in printed
    assert leaks(printed, folder / name) == []


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
