"""`rlllm rewards test` from the command line: the card on a screen, as JSON, and in the plan of a run."""

from __future__ import annotations

from pathlib import Path

from command_line import Rlllm


def test_a_good_reward_passes_and_leaves_a_card(rlllm: Rlllm, tmp_path: Path) -> None:
    said = rlllm("rewards test exact")
    assert said.code == 0, said.err
    assert said.out.startswith("exact: passes\n")
    for word in ("precision", "recall", "latency", "scored again", "attack: this or that"):
        assert word in said.out
    assert len(list((tmp_path / "runs" / "reward-cards").glob("exact-*.json"))) == 1
    assert "reward card" in rlllm("reason --data arithmetic --reward exact --dry-run").out


def test_a_planted_hack_fails_with_its_examples(rlllm: Rlllm, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def own(sample):\n    return float(sample.answer in sample.completion)\n")
    said = rlllm("rewards test own.py:own --data arithmetic#8")
    assert said.code == 1
    assert "false accept, for example" in said.out
    assert "it accepts what is wrong" in said.err


def test_json_is_the_card_and_its_place(rlllm: Rlllm) -> None:
    said = rlllm("rewards test numeric --data arithmetic#4 --json")
    assert said.code == 0, said.err
    assert said.json["ok"]
    assert Path(said.json["path"]).name.startswith("numeric-")
    assert said.json["kinds"][0] == {
        "kind": "gold",
        "expected": "pass",
        "n": 4,
        "passed": 4,
        "unjudged": 0,
        "errors": 0,
        "mean": 1.0,
    }


def test_a_run_that_needs_a_card_says_what_to_type(rlllm: Rlllm) -> None:
    words = "reason --data arithmetic --reward exact require_card=true --dry-run"
    said = rlllm(words)
    assert said.code == 2
    assert "hint: rlllm rewards test exact" in said.err
    assert rlllm("rewards test exact").code == 0
    assert rlllm(words).code == 0


def test_mistakes_are_one_screen(rlllm: Rlllm) -> None:
    assert "did you mean exact?" in rlllm("rewards test exakt").err
    assert "brings no cases" in rlllm("rewards test random").err
    assert rlllm("rewards test exact --columns answer=x").code == 2
    assert rlllm("rewards test exact --data nowhere.jsonl").code == 2
