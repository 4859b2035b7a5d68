"""The trainings of `sick_runs.py`: each healthy verb with one mistake in its settings, its data or its reward."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RLLLM = str(Path(sys.executable).with_name("rlllm"))
REWARDS = '''"""Rewards that pay for what nobody wants."""


def longer(sample):
    return sample.tokens / 64


def shorter(sample):
    return -sample.tokens / 64


def sevens(sample):
    """The share of sevens, up to as many as the completion may have tokens."""
    return sample.completion.count("7") / 64


def never_ends(sample):
    return float(sample.truncated)
'''
_FOLDER = "FOLDER"
_SUMS = {"name": "arithmetic", "level": 2, "rows": 1920, "holdout": 128}
_LISTS = {"name": "lists", "level": 1, "rows": 2000, "holdout": 128, "params": {"clean": True}}
_LOOP_TRAINER = {
    "learning_rate": 2e-4,
    "max_steps": 40,
    "per_device_train_batch_size": 64,
    "lr_scheduler_type": "constant",
}
HEALTHY: Mapping[str, dict[str, Any]] = {
    "sft": {
        "verb": "sft",
        "method": "sft",
        "data": _LISTS,
        "trainer": {
            "learning_rate": 1e-3,
            "max_steps": 60,
            "per_device_train_batch_size": 32,
            "warmup_steps": 6,
            "lr_scheduler_type": "cosine",
        },
    },
    "train-rm": {
        "verb": "train_rm",
        "method": "bt",
        "data": {**_SUMS, "rows": 4000},
        "trainer": {
            "learning_rate": 1e-3,
            "max_steps": 60,
            "per_device_train_batch_size": 32,
            "warmup_steps": 6,
            "lr_scheduler_type": "cosine",
            "max_length": 256,
        },
    },
    "dpo": {
        "verb": "align",
        "method": "dpo",
        "data": _SUMS,
        "rollout": {"max_new_tokens": 96},
        "trainer": {
            "learning_rate": 1e-4,
            "max_steps": 60,
            "per_device_train_batch_size": 32,
            "warmup_steps": 6,
            "lr_scheduler_type": "cosine",
            "max_length": 256,
        },
        "eval": {"rows": 128, "samples": 2},
    },
    "grpo": {
        "verb": "reason",
        "method": "grpo",
        "data": _SUMS,
        "rewards": ["exact", {"name": "format", "weight": 0.1}],
        "rollout": {"group_size": 8, "max_new_tokens": 64},
        "trainer": _LOOP_TRAINER,
        "eval": {"rows": 128, "samples": 2},
    },
    "ppo": {
        "verb": "align",
        "method": "ppo",
        "data": _SUMS,
        "rewards": ["gold"],
        "rollout": {"max_new_tokens": 64},
        "trainer": {**_LOOP_TRAINER, "learning_rate": 1e-4},
        "eval": {"rows": 128, "samples": 2},
    },
}
"""Name -> settings of a training without a mistake; `verb` names the function of the Python API."""


@dataclass(frozen=True)
class Case:
    """A training with one mistake.

    Args:
        like: the healthy training that it is made of.
        codes: reasons of a verdict of which each names the mistake.
        changed: what is different: settings, as `section.key`.
    """

    like: str
    codes: frozenset[str]
    changed: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, folder: Path) -> dict[str, Any]:
        """The settings of the run, with `verb`; files are those that `write_files` wrote into the folder."""
        settings = json.loads(json.dumps(HEALTHY[self.like]))
        if self.codes:
            settings["eval"] = {**settings.get("eval", {}), "rows": 32}
        changed = json.loads(json.dumps(dict(self.changed)).replace(_FOLDER, str(folder)))
        for name, value in changed.items():
            section, _, key = name.rpartition(".")
            if section:
                settings.setdefault(section, {})[key] = value
            else:
                settings[name] = value
        return settings


def _case(like: str, *codes: str, **changed: Any) -> Case:
    return Case(like, frozenset(codes), {name.replace("__", "."): value for name, value in changed.items()})


def _paid(name: str) -> list[Any]:
    """The right answer is looked at, and something else is paid for."""
    return [{"name": "exact", "weight": 0}, f"{_FOLDER}/rewards.py:{name}"]


CASES: Mapping[str, Case] = {
    "grpo: learning rate 3e-2": _case("grpo", "policy_collapse", trainer__learning_rate=3e-2),
    "grpo: learning rate 1e-9": _case("grpo", "no_movement", trainer__learning_rate=1e-9),
    "grpo: warm-up longer than the run": _case(
        "grpo", "no_movement", trainer__warmup_steps=1_000_000, trainer__lr_scheduler_type="constant_with_warmup"
    ),
    "grpo: beta 1e6": _case("grpo", "kl_dominates", trainer__beta=1e6),
    "grpo: sums too hard for the model": _case("grpo", "zero_variance_groups", data__level=4, rewards=["exact"]),
    "grpo: every completion cut": _case("grpo", "truncation", rollout__max_new_tokens=16),
    "grpo: answers that cannot be right": _case(
        "grpo", "reward_never_paid", "reward_composition", data={"name": f"{_FOLDER}/unreachable.jsonl", "holdout": 64}
    ),
    "grpo: paid for length": _case("grpo", "length_explosion", "length_bias", rewards=_paid("longer")),
    "grpo: paid for shortness": _case("grpo", "length_collapse", "length_bias", rewards=_paid("shorter")),
    "grpo: paid for sevens": _case("grpo", "repetition", rewards=_paid("sevens"), trainer__learning_rate=1e-3),
    "grpo: paid for not ending": _case(
        "grpo", "missing_eos", "truncation", rewards=_paid("never_ends"), trainer__learning_rate=1e-3
    ),
    "grpo: entropy bonus 5": _case("grpo", "entropy_explosion", trainer__entropy_coef=5.0),
    "grpo: 16 updates of one rollout": _case(
        "grpo",
        "clip_saturation",
        "policy_collapse",
        trainer__num_iterations=16,
        trainer__learning_rate=1e-2,
        trainer__save_strategy="no",
    ),
    "grpo: no clipping of gradients": _case(
        "grpo", "policy_collapse", "gradient_spikes", trainer__learning_rate=1e-2, trainer__max_grad_norm=0.0
    ),
    "entropy-min: learning rate 2e-3": _case(
        "grpo",
        "entropy_collapse",
        "kl_blowup",
        method="entropy-min",
        rewards=[{"name": "exact", "weight": 0}],
        trainer__learning_rate=2e-3,
    ),
    "grpo: reward turned round": _case("grpo", "reward_regression", rewards=[{"name": "exact", "weight": -1}]),
    "sft: learning rate 1": _case("sft", "diverging_loss", trainer__learning_rate=1.0),
    "sft: learning rate 10, nothing held out": _case(
        "sft", "diverging_loss", trainer__learning_rate=10.0, data__holdout=0
    ),
    "sft: NEFTune 1e6": _case("sft", "diverging_loss", trainer__neftune_noise_alpha=1e6),
    "sft: eight rows again and again": _case(
        "sft", "memorisation", data__rows=8, trainer__per_device_train_batch_size=8, trainer__max_steps=100
    ),
    "sft: rows cut before they end": _case("sft", "missing_eos", "rows_cut", trainer__max_length=24),
    "dpo: learning rate 1e-1": _case(
        "dpo", "diverging_loss", "policy_collapse", "kl_blowup", trainer__learning_rate=1e-1
    ),
    "dpo: pairs that differ by a blank": _case(
        "dpo", "identical_pairs", data={"name": f"{_FOLDER}/blank.jsonl", "holdout": 64}
    ),
    "dpo: random labels": _case("dpo", "no_signal", data={"name": f"{_FOLDER}/random.jsonl", "holdout": 64}),
    "train-rm: random labels": _case("train-rm", "no_signal", data={"name": f"{_FOLDER}/random.jsonl", "holdout": 64}),
    "train-rm: learning rate 10": _case("train-rm", "diverging_loss", trainer__learning_rate=10.0),
    "ppo: learning rate 3e-2": _case("ppo", "policy_collapse", "entropy_collapse", trainer__learning_rate=3e-2),
    "ppo: learning rate 10 of the critic": _case("ppo", "non_finite", "policy_collapse", critic__learning_rate=10.0),
}


def write_files(folder: Path) -> None:
    """The rewards and the data of the cases."""
    (folder / "rewards.py").write_text(REWARDS, encoding="utf-8")
    generator = random.Random(0)
    pairs = list(_exported(folder, "train-rm", 2000))
    for pair in pairs:
        if generator.random() < 0.5:
            pair["chosen"], pair["rejected"] = pair["rejected"], pair["chosen"]
    _write(folder / "random.jsonl", pairs)
    _write(folder / "blank.jsonl", [{**pair, "rejected": pair["chosen"] + " "} for pair in pairs])
    _write(folder / "unreachable.jsonl", [{**row, "answer": "none"} for row in _exported(folder, "reason", 2000)])


def _exported(folder: Path, kind: str, rows: int) -> Iterator[dict[str, Any]]:
    """Rows of sums as a file for the verb would have them, prompt and texts only."""
    path = folder / f"{kind}.jsonl"
    words = ["data", "export", f"arithmetic#{rows}", "data.level=2", "--to", "trl", "--kind", kind, "--out", str(path)]
    subprocess.run([RLLLM, *words, "--overwrite"], check=True, capture_output=True)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield {
            name: row[name]
            for name in ("prompt", "chosen", "rejected", "answer")
            if name in row and not (kind == "train-rm" and name == "answer")
        }


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
