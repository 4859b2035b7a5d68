"""`rlllm claim` and `rlllm verify` as they are typed: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Rlllm

from rlllm.tools.claims.claim_file import sealed

SMALL = "--data arithmetic data.level=1 data.rows=16 data.holdout=8 eval.rows=8 max_steps=3 rollout.max_new_tokens=8"
TRAINED = "--reward odd.py:odd per_device_train_batch_size=8 learning_rate=1e-3"
REWARD = "def odd(sample):\n    return sum(sample.completion.encode()) % 7 / 10\n"


def test_a_run_is_claimed_verified_and_refuted(rlllm: Rlllm, tiny_model: str, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(REWARD)
    run = tmp_path / "run"
    rlllm(f"reason --model {tiny_model} {SMALL} {TRAINED} --output-dir {run}")
    said = rlllm(f"claim {run}")
    assert (said.code, said.out.strip()) == (0, f"{run / 'claim.json'}")
    assert f"rlllm verify {run / 'claim.json'} --quick" in said.err

    planned = rlllm(f"verify {said.out.strip()} --dry-run --json").json
    assert [(row["name"], row["steps"]) for row in planned] == [("run", 3)]

    verified = rlllm(f"verify {said.out.strip()} --quick --steps 2")
    assert verified.code == 0, verified.err
    assert "bit for bit up to step 2 of 3" in verified.out
    assert verified.out.splitlines()[-1] == "run: reproduced"

    document = json.loads((run / "claim.json").read_text())
    document["shared"]["settings"]["seed"] = 7
    other = tmp_path / "other.json"
    other.write_text(json.dumps(sealed({key: value for key, value in document.items() if key != "checksum"})))
    refuted = rlllm(f"verify {other} --quick")
    assert (refuted.code, refuted.out.splitlines()[-1]) == (1, "run: not reproduced")

    document["shared"]["environment"]["packages"]["torch"] = "1.0"
    other.write_text(json.dumps(sealed({key: value for key, value in document.items() if key != "checksum"})))
    undecided = rlllm(f"verify {other} --quick --json")
    assert (undecided.code, undecided.json["verdict"]) == (4, "not decidable at this power")


def test_what_is_no_claim_is_a_usage_error(rlllm: Rlllm, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    said = rlllm(f"verify {tmp_path / 'other.json'}")
    assert said.code == 2
    assert "there is no claim in this file" in said.err
    assert "rlllm claim RUN" in said.err
    assert rlllm(f"claim {tmp_path / 'nowhere'}").code == 2
