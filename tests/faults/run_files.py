"""What a run leaves on disk, compared; and the rewards the tests in this folder train with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rlllm
from rlllm.core.runs import Run
from rlllm.tools.resume_proof.same_run import varying

VERBS: dict[str, Callable[..., Run]] = {
    "sft": rlllm.sft,
    "train-rm": rlllm.train_rm,
    "align": rlllm.align,
    "reason": rlllm.reason,
}

REWARDS = '''
import os
import signal
import zlib

from rlllm.algorithms.dialogues.tracer import TRACER
from rlllm.plugins import Score


def now_and_then(sample):
    if zlib.crc32(sample.completion.encode()) % 23 == 0:
        raise KeyError("nothing to see")
    return vowels(sample)


def seldom(sample):
    if zlib.crc32(sample.completion.encode()) % 61 == 0:
        raise KeyError("nothing to see")
    return vowels(sample)


def vowels(sample):
    """Presses Ctrl-C at a call of its own choosing."""
    left = int(os.environ.get("CALLS_UNTIL_CTRL_C", "-1"))
    if left >= 0:
        os.environ["CALLS_UNTIL_CTRL_C"] = str(left - 1)
    if left == 0:
        os.kill(os.getpid(), signal.SIGINT)
    return sum(letter in "aeiou" for letter in sample.completion) + 0.01 * len(sample.completion.encode())


def rarely(sample):
    return float(vowels(sample) >= 1)


def only_where_it_varies(sample):
    return vowels(sample) if sample.prompt.startswith("vary") else 1.0


class Paid(TRACER):
    """Random text has no verdicts: reviews are paid by their bytes, so that reviewers learn something."""

    def score(self, sample):
        return Score(sum(sample.completion.encode()) % 7 / 7) if super().score(sample) else None
'''


def write_rewards(folder: Path) -> Path:
    path = folder / "rewards.py"
    path.write_text(REWARDS)
    return path


def differing_weights(one: Run, other: Run) -> list[str]:
    """Names of the tensors of two runs' models that are not equal to the bit."""
    from safetensors.torch import load_file

    files = sorted(path.relative_to(one.model) for path in one.model.rglob("*.safetensors"))
    assert files == sorted(path.relative_to(other.model) for path in other.model.rglob("*.safetensors"))
    differing = []
    for file in files:
        first, second = (load_file(run.model / file) for run in (one, other))
        assert first.keys() == second.keys()
        differing += [name for name in first if not first[name].equal(second[name])]
    return differing


def optimizer_differs(one: Run, other: Run) -> bool:
    """Whether the optimizers of two runs' last checkpoints differ in any number."""
    import torch

    states = []
    for run in (one, other):
        checkpoint = run.latest_checkpoint()
        assert checkpoint is not None
        states.append(torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"])
    return any(
        not torch.equal(torch.as_tensor(states[0][index][key]), torch.as_tensor(states[1][index][key]))
        for index in states[0] | states[1]
        for key in states[0][index]
    )


def learned_metrics(run: Run) -> list[dict[str, Any]]:
    """What was logged at every step, without the clocks."""
    left_out = varying(run.config["stage"])
    return [{key: value for key, value in row.items() if key not in left_out} for row in run.metrics()]


def loop_state(run: Run) -> list[bytes]:
    """The critic's weights and the slots' state in a run's last checkpoint, where its method has them."""
    checkpoint = run.latest_checkpoint()
    assert checkpoint is not None
    paths = [checkpoint / name for name in ("critic.safetensors", "slots.json")]
    return [path.read_bytes() for path in paths if path.exists()]
