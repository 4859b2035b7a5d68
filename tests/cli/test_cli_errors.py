"""Every error is one screen on stderr, names what to type next, leaves stdout empty and sets the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Rlllm

from rlllm.core.runs import Run


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("reasn", ["error: unknown command: reasn", "", "hint: did you mean reason?"]),
        ("recipes lss", ["error: unknown command: lss", "", "hint: did you mean ls?"]),
        ("--versio", ["error: no such option: --versio", "", "hint: did you mean --version?"]),
        ("rewards ls --jsn", ["error: no such option: --jsn", "", "hint: did you mean --json?"]),
        ("report", ["error: missing argument 'RUN...'", "", "hint: rlllm report --help"]),
        ("runs show a b", ["error: got unexpected extra argument(s) (b)", "", "hint: rlllm runs show --help"]),
        (
            "reason --learning 1",
            ["error: no such option for reason: --learning", "", "hint: did you mean --learning_rate?"],
        ),
        ("reason --mod nano", ["error: no such option for reason: --mod", "", "hint: did you mean --model?"]),
        ("reason a.yaml b.yaml", ["error: one recipe at most, not 2", "given: a.yaml and b.yaml"]),
        ("reason nowhere.yaml", ["error: no such recipe file", "given: nowhere.yaml"]),
        (
            "reason lerning_rate=1",
            ["error: unknown key for reason: lerning_rate", "", "hint: did you mean learning_rate?"],
        ),
        (
            "reason rollout.grup_size=4",
            ["error: unknown key in rollout: grup_size", "", "hint: did you mean group_size?"],
        ),
        ("reason group_siz=4", ["error: unknown key for reason: group_siz", "", "hint: did you mean"]),
        ("reason learning_rate=fast", ["error: learning_rate takes float", "given: learning_rate='fast' (str)"]),
        ("reason --method grpoo --model M", ["error: unknown method: grpoo", "", "hint: did you mean grpo?"]),
        ("reason --reward exct --model M", ["error: unknown reward: exct", "", "hint: did you mean exact?"]),
        ("reason --model nowhere", ["error: no such model", "given: nowhere"]),
        ("reason --data nowhere.jsonl --model M", ["error: ", "given: nowhere.jsonl"]),
        ("reason --model nano model=nano", ["error: model is given twice", "given: --model nano and model=nano"]),
        ("methods show grpoo", ["error: unknown method: grpoo", "", "hint: did you mean grpo?"]),
        ("methods ls --stage resaon", ["error: unknown stage: resaon", "", "hint: did you mean reason?"]),
        ("recipes show reason/quickstrat", ["error: unknown recipe: reason/quickstrat"]),
        ("recipes check", ["error: nothing to check", "", "hint: name recipes, or add --all"]),
        ("runs show nowhere", ["error: no run in this directory", "given: nowhere"]),
        ("report nowhere", ["error: no run in this directory", "given: nowhere"]),
        ("compare nowhere elsewhere", ["error: no run in this directory", "given: nowhere"]),
        ("run nowhere", ["error: unknown recipe: nowhere"]),
    ],
)
def test_a_wrong_line_ends_with_what_to_type(words: str, lines: list[str], rlllm: Rlllm, model: str) -> None:
    said = rlllm(words.replace("--model M", f"--model {model}"))
    assert said.code == 2
    assert said.out == ""
    assert "Traceback" not in said.err
    shown = said.err.splitlines()
    assert len(shown) < 24
    assert [got.startswith(line) if line else got == "" for got, line in zip(shown, lines, strict=False)] == [
        True
    ] * len(lines), said.err
    assert shown[-1].startswith("hint: "), said.err


def test_a_seed_that_is_no_number_is_a_usage_error(rlllm: Rlllm) -> None:
    said = rlllm("reason --seed x")
    assert said.code == 2
    assert said.err.startswith("error: invalid value for '--seed'")


def test_choices_are_listed_when_nothing_is_near(rlllm: Rlllm) -> None:
    said = rlllm("methods show zzzzzz")
    assert said.err.splitlines()[1].startswith("exists: adaptive-entropy, aot, aot-unpaired, apo-down,")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a recipe is a mapping of settings"),
        ("- a\n- b\n", "a recipe is a mapping of settings"),
        ("model: [nano\n", "not valid YAML at line 2, column 1"),
        ("modle: nano\n", "unknown key for reason: modle"),
        ("seed: soon\n", "seed: input should be a valid integer"),
    ],
)
def test_a_broken_recipe_file_is_named(text: str, message: str, rlllm: Rlllm, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    said = rlllm("reason mine.yaml --dry-run")
    assert said.code == 2
    assert said.err.startswith(f"error: {message}")


def test_a_non_empty_output_directory_is_refused_before_anything_is_loaded(
    rlllm: Rlllm, tmp_path: Path, model: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    said = rlllm(f"reason --model {model} --output-dir out --max_steps 1")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: the output directory is not empty")
    said = rlllm(f"reason --model {model} --output-dir out --max_steps 1 --overwrite")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: will not overwrite a directory that is not a run")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_a_bug_is_one_screen_unless_the_traceback_is_asked_for(
    rlllm: Rlllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "broken"
    run.mkdir()
    (run / "status.json").write_text('{"state": "done", "stage": "sft"}')
    (run / "config.json").write_text('{"stage": "sft", "settings": {}}')
    monkeypatch.setattr(Run, "damages", None)
    said = rlllm("runs show broken")
    assert said.code == 1
    assert said.err.startswith("error: unexpected TypeError: ")
    assert "--traceback" in said.err
    with pytest.raises(TypeError):
        rlllm("runs show broken --traceback")
    with pytest.raises(TypeError):
        rlllm("--traceback runs show broken")
    monkeypatch.setenv("RLLLM_TRACEBACK", "1")
    with pytest.raises(TypeError):
        rlllm("runs show broken")


def test_errors_are_not_coloured_in_a_pipe(rlllm: Rlllm) -> None:
    assert "\x1b" not in rlllm("reasn").err


@pytest.mark.parametrize("ending", ["sys.exit()", "sys.exit(0)", "raise GeneratorExit", "raise BaseException"])
def test_a_file_that_ends_the_program_never_passes_for_success(ending: str, rlllm: Rlllm, tmp_path: Path) -> None:
    (tmp_path / "at_import.py").write_text(f"import sys\ndef f(sample): return 1.0\n{ending}\n")
    (tmp_path / "at_call.py").write_text(f"import sys\ndef rows(request):\n    {ending}\n")
    for words, file in [
        ("--reward at_import.py:f", "at_import.py"),
        ("--reward exact --data at_import.py:f", "at_import.py"),
        ("--reward exact environment=at_import.py:f", "at_import.py"),
        ("--reward exact --data at_call.py:rows", "at_call.py"),
    ]:
        said = rlllm(f"reason --model nano {words} --dry-run")
        assert (said.code != 0, said.out, "Traceback" in said.err) == (True, "", False), words
        assert f"{file}, line 3" in said.err
        assert "bug in rlllm" not in said.err
