"""`reason` on calls that a special token marks, with a tokenizer that parses responses: what the reward and the files hold."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import rlllm

ENGINE = '''
import re

from rlllm.plugins import Engine


class Caller(Engine):
    """Calls double with the number of the prompt, or with 0 where that is odd."""

    def __init__(self, model, tokenizer):
        self.tokenizer = tokenizer

    def generate(self, prompts, sampling):
        return self.tokenizer([self._says(self.tokenizer.decode(list(ids))) for ids in prompts])["input_ids"]

    def _says(self, text):
        number = int(re.search(r"Double (\\d+)", text)[1])
        return '<|system|>{"name": "double", "arguments": {"x": %d}}<|end|>' % (0 if number % 2 else number)

    def stop_ids(self):
        return {self.tokenizer.eos_token_id}
'''
TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "tool_calls": {
            "open": "<|system|>",
            "close": "<|end|>",
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close": "<|end|>", "content": "text"},
    },
}


def test_the_reward_calls_sees_the_marks_in_training_and_in_measuring(tiny_model: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**settings, "response_template": TEMPLATE}))
    (tmp_path / "caller.py").write_text(ENGINE)
    lines = [{"prompt": f"Double {n}.", "ground_truth": json.dumps([{"double": {"x": [n]}}])} for n in range(1, 17)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = rlllm.reason(
        model=str(model),
        data={"name": str(tmp_path / "rows.jsonl"), "holdout": 4},
        rewards=[{"name": "calls", "tokenizer": str(model)}],
        rollout={"engine": f"{tmp_path}/caller.py:Caller", "group_size": 2, "max_new_tokens": 96},
        eval={"rows": 4, "samples": 1},
        trainer={"max_steps": 1, "per_device_train_batch_size": 4},
        output_dir=tmp_path / "run",
    )
    samples = [json.loads(line) for line in (run.path / "samples.jsonl").read_text().splitlines()]
    assert samples
    for sample in samples:
        number = int(re.findall(r"Double (\d+)", json.dumps(sample["prompt"]))[0])
        called = 0 if number % 2 else number
        assert sample["completion"] == f'<|system|>{{"name": "double", "arguments": {{"x": {called}}}}}'
        assert sample["reward"] == float(called == number)
    assert "<|system|>" in (run.path / "before_after.jsonl").read_text()
