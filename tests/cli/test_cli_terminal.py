"""What rows, models and rewards wrote reaches a terminal with its control characters spelled out."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Rlllm

from rlllm.core.runs import append_jsonl
from rlllm.policies.model_sources import resolve_model

STEERING = "[red]\x1b]0;title\x07\x1b[31mred\x9b2J\u202eevil\r"
MODEL = "na\x1b[31mno\x07\u202e"
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
    Path("rows.jsonl").write_text(json.dumps({"prompt": f"{STEERING}[/red]", "answer": "1"}) + "\n")
    said = rlllm("data show rows.jsonl --kind reason")
    assert said.code == 0, said.err
    assert plain(said.out)
    assert "[red]" in said.out


def test_half_a_character_in_data_is_named(rlllm: Rlllm) -> None:
    Path("rows.jsonl").write_text('{"prompt": "a", "answer": "1"}\n{"prompt": "b \\ud83d", "answer": "1"}\n')
    said = rlllm("data show rows.jsonl --kind reason")
    assert said.code == 2
    assert "half a character stands alone at line 2: '\\ud83d'" in said.err


def test_runs_of_a_hostile_world_are_listed_shown_compared_and_reported(rlllm: Rlllm) -> None:
    Path(MODEL).symlink_to(resolve_model("nano").path)
    Path(f"odd{STEERING.replace('/', '')}.py").write_text(
        "import itertools\n"
        "from rlllm import Score\n"
        f"hostile, calls = {STEERING!r} + '\\ud83d', itertools.count()\n"
        "def odd(sample):\n"
        "    if next(calls) % 30 == 20:\n"
        "        raise ValueError(hostile)\n"
        "    return Score(len(sample.completion) % 3, parsed=hostile, note=hostile)\n"
    )
    rows = [{"prompt": f"What is {number} + 2? {STEERING}", "answer": str(number + 2)} for number in range(24)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = "data.holdout=8 eval.rows=8 eval.samples=1 --max_steps 1 --per_device_train_batch_size 16 num_generations=4"
    reward = f"./odd{STEERING.replace('/', '')}.py:odd"
    for run in ("one", "two"):
        given = ["reason", "--model", f"./{MODEL}", "--data", "rows.jsonl", "--reward", reward, *words.split()]
        trained = rlllm(*given, "max_new_tokens=6", "--output-dir", run)
        assert Path(run, "verdict.json").exists(), trained.err
        assert "raised ValueError" in trained.err
        assert plain(trained.out + trained.err)
        append_jsonl(Path(run, "metrics.jsonl"), [{"step": 2, f"rewards/{STEERING}": 1.0}])
    shown = [rlllm(f"runs {words}") for words in ("ls .", "show one", "show one --samples last", "diff one two")]
    shown += [
        rlllm(words) for words in ("compare one two", "report one --output one.html", "report . --output all.html")
    ]
    shown += [rlllm(f"data show rows.jsonl --kind reason{more}") for more in ("", " --json")]
    documents = [rlllm(words) for words in ("runs show one --json", "runs show one --samples last --json")]
    for said in (*shown, *documents, rlllm("compare one two --json"), rlllm("claim one --output one.json")):
        assert said.code == 0, said.err
        assert plain(said.out + said.err)
    assert f"rewards/{STEERING}" in documents[0].json["metrics"], "a JSON document reads back as it was"
    assert "[red]" in shown[2].out, "markup is text"
    for page in ("one.html", "all.html", "one/report.html"):
        assert plain(Path(page).read_text(encoding="utf-8"))
