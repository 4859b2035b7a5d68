"""PPO on a toy with two arms whose optimum is known in closed form."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import rlllm

PROMPT = "say a letter"
BETA = 0.5
REWARD = "def odd(sample): return float(ord(sample.completion[:1] or ' ') % 2)\n"


def share_of_odd(folder: Path | str) -> float:
    """Probability that the first token's first character is odd."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPT}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        shares = model(**ids).logits[0, -1].softmax(-1)
    texts = [tokenizer.decode([token], skip_special_tokens=True) for token in range(len(shares))]
    return float(sum(share for share, text in zip(shares, texts, strict=True) if ord(text[:1] or " ") % 2))


def test_ppo_finds_the_optimum_of_reward_minus_kl(tiny_model: str, tmp_path: Path) -> None:
    """One token, reward 1 for one arm: the optimum weighs each arm by exp(reward / beta) (Rafailov et al. 2023, eq. 4)."""
    (tmp_path / "rewards.py").write_text(REWARD)
    data = tmp_path / "prompts.jsonl"
    data.write_text("".join(json.dumps({"prompt": PROMPT}) + "\n" for _ in range(256)))
    start = share_of_odd(tiny_model)
    run = rlllm.align(
        method="ppo",
        model=tiny_model,
        data={"name": str(data)},
        rewards=[f"{tmp_path}/rewards.py:odd"],
        rollout={"max_new_tokens": 1},
        trainer={
            "max_steps": 60,
            "per_device_train_batch_size": 256,
            "learning_rate": 3e-3,
            "lr_scheduler_type": "linear",
            "beta": BETA,
            "save_strategy": "no",
        },
        advantage={"name": "gae", "whiten": False},
        output_dir=tmp_path / "run",
    )
    assert run.ok, run.verdict
    gain = math.exp(1 / BETA) * start
    optimum = gain / (gain + 1 - start)
    assert optimum - start > 0.2
    assert abs(share_of_odd(run.model) - optimum) < 0.05
