"""What rows, models and rewards wrote reaches a terminal with its control characters spelled out."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Rlllm

STEERING = "\x1b]0;title\x07\x1b[31mred\x9b2J\u202eevil\r"
RAW = ("\x1b", "\x07", "\x9b", "\u202e", "\r")


def plain(text: str) -> bool:
    return not any(sign in text for sign in RAW)


def test_errors_about_data_steer_nothing(rlllm: Rlllm) -> None:
    Path("rows.jsonl").write_text('{"prompt": "a' + STEERING.replace("\r", "") + "\n")
    said = rlllm("data show rows.jsonl")
    assert said.code == 2
    assert plain(said.err)
    Path("rows.csv").write_text(f"prompt{STEERING.replace(chr(13), '')},b\n1,2\n")
    assert plain(rlllm("data show rows.csv").err + rlllm("data show rows.csv").out)


def test_rows_and_their_markup_are_text(rlllm: Rlllm) -> None:
    Path("rows.jsonl").write_text(json.dumps({"prompt": f"[red]{STEERING}[/red]", "answer": "1"}) + "\n")
    said = rlllm("data show rows.jsonl --kind reason")
    assert said.code == 0, said.err
    assert plain(said.out)
    assert "[red]" in said.out


def test_a_reward_that_raises_and_half_characters_break_no_listing(rlllm: Rlllm, tiny_model: str) -> None:
    Path("odd.py").write_text(
        "def odd(sample):\n"
        "    if len(sample.completion) % 9 == 4:\n"
        f"        raise ValueError({STEERING!r} + '\\ud83d')\n"
        "    return len(sample.completion) % 3\n"
    )
    words = "--max_steps 2 --per_device_train_batch_size 16 num_generations=4 max_new_tokens=6 --output-dir run"
    trained = rlllm(f"reason --model {tiny_model} --data arithmetic#16 data.holdout=0 --reward odd.py:odd {words}")
    assert plain(trained.out + trained.err)
    for command in ("runs show run", "runs ls", "runs show run --json", "runs show run --samples last", "report run"):
        said = rlllm(command)
        assert said.code == 0, (command, said.err)
        assert plain(said.out), command
