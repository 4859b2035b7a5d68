"""Sources to one prepared folder: what is dropped, what is held out, what is not built twice, what is never replaced."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, RlllmError
from rlllm.core.events import NullProgress
from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.data.prepare.folder import content_hash
from rlllm.data.prepare.settings import Preparation
from rlllm.stages.evaluate.items import evaluation_items, evaluation_sets
from rlllm.tools.data.build import Prepared, prepare
from rlllm.tools.data.check import DataCheck, check_data
from rlllm.tools.data.record_types import record_kind
from rlllm.tools.data.show import show_data

WORDS = [f"word{number}" for number in range(300)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files of questions with answers, of which the second repeats ten rows of the first, and an exam of five of them."""
    monkeypatch.chdir(tmp_path)
    draw = random.Random(0)
    rows: list[dict[str, Any]] = [
        {"prompt": " ".join(draw.choices(WORDS, k=30)), "answer": str(number), "level": number % 7}
        for number in range(140)
    ]
    repeats = [{**row, "prompt": row["prompt"].upper() + "!"} for row in rows[:10]]
    write("one.jsonl", rows[:100])
    write("two.jsonl", rows[100:] + repeats)
    write("exam.jsonl", rows[95:105])
    return tmp_path


def write(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def built(**values: Any) -> Prepared:
    given = {"sources": ["one.jsonl", "two.jsonl"], "kind": "PromptTask", "out": "made", **values}
    return prepare(Preparation.checked(given), command="rlllm data build")


def lines(path: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / name).read_text().splitlines()]


def test_repeats_and_exam_prompts_are_left_out_and_whole_prompts_are_held_out(folder: Path) -> None:
    made = built(near_duplicates=True, contamination={"against": "exam.jsonl"}, holdout=20)
    manifest = made.manifest
    assert manifest.dropped == {"exact duplicates": 10, "contaminated": 10}
    assert (manifest.train, manifest.holdout) == (110, 20)
    assert [(source.read, source.kept) for source in manifest.sources] == [(100, 95), (50, 35)]
    dropped = lines(made.path, "dropped.jsonl")
    assert {row["why"] for row in dropped} == {"duplicate", "contaminated"}
    assert dropped[0] == {
        "source": "two.jsonl",
        "row": 41,
        "why": "duplicate",
        "of": {"source": "one.jsonl", "row": 1},
    }
    loaded = load(DataConfig(name="made"), PromptTask)
    assert not {task.prompt for task in loaded.train} & {task.prompt for task in loaded.holdout}
    assert {task.meta["source"] for task in loaded.train} == {"one.jsonl", "two.jsonl"}
    assert sorted(path.name for path in made.path.iterdir()) == sorted(
        ["card.md", "dropped.jsonl", "holdout.jsonl", "prepared.json", "train.jsonl"]
    )


def test_the_held_out_rows_are_those_that_the_file_would_hold_out(folder: Path) -> None:
    built(sources=["one.jsonl"], holdout=15)
    of_file = load(DataConfig(name="one.jsonl", holdout=15), PromptTask)
    made = load(DataConfig(name="made"), PromptTask)
    assert [task.prompt for task in made.holdout] == [task.prompt for task in of_file.holdout]
    assert [task.prompt for task in made.train] == [task.prompt for task in of_file.train]


def test_a_mixture_holds_its_weights_and_a_curriculum_its_order(folder: Path) -> None:
    made = built(mixture={"weights": [1, 3], "rows": 40, "curriculum": "level"})
    assert [source.train for source in made.manifest.sources] == [10, 30]
    levels = [row["meta"]["level"] for row in lines(made.path, "train.jsonl")]
    assert levels == sorted(levels)
    assert made.manifest.dropped == {"left out by the mixture": 110}


def test_the_same_is_not_built_twice_and_a_change_is_noticed(folder: Path) -> None:
    first = built()
    assert first.built
    assert not built().built
    assert built(out="other").manifest.hash == first.manifest.hash
    with pytest.raises(ConfigError, match="prepared otherwise"):
        built(holdout=5)
    assert built(holdout=5, overwrite=True).built
    with Path("one.jsonl").open("a") as file:
        file.write('{"prompt": "new", "answer": "1"}\n')
    with pytest.raises(ConfigError, match="prepared otherwise"):
        built(holdout=5)
    again = built(holdout=5, overwrite=True)
    assert again.manifest.train == first.manifest.train - 5 + 1
    with (again.path / "train.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(ConfigError, match="or it was changed"):
        built(holdout=5)


def test_what_is_no_prepared_folder_is_never_replaced(folder: Path) -> None:
    Path("made").mkdir()
    Path("made/notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else is there"):
        built(overwrite=True)
    with pytest.raises(ConfigError, match="something else is there"):
        built(out="one.jsonl", overwrite=True)
    assert Path("made/notes.txt").read_text() == "mine"


def test_an_error_leaves_nothing_behind(folder: Path) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(DataError, match=r"record 1 of one\.jsonl has no number in the column depth"):
        built(mixture={"curriculum": "depth"})
    with pytest.raises(DataError, match="a holdout of 150 rows leaves none of 150"):
        built(holdout=150)
    with pytest.raises(RlllmError):
        built(sources=["one.jsonl", "nowhere.jsonl"])
    assert sorted(folder.iterdir()) == before


def test_rows_that_do_not_fit_are_counted_where_they_may_be_skipped(folder: Path) -> None:
    with Path("one.jsonl").open("a") as file:
        file.write('{"prompt": null, "answer": "1"}\n')
    with pytest.raises(DataError):
        built()
    made = built(sources=[{"name": "one.jsonl", "on_bad_row": "skip"}])
    assert made.manifest.dropped == {"bad rows": 1}
    assert "line 101 of one.jsonl" in (made.path / "card.md").read_text()


def test_a_prepared_folder_is_a_source_and_its_held_out_rows_stay_out(folder: Path) -> None:
    first = built(holdout=30)
    second = built(sources=["made", "one.jsonl#5"], kind="reason", out="again")
    assert second.manifest.sources[0].read == first.manifest.train
    assert {row["meta"]["source"] for row in lines(second.path, "train.jsonl")} == {"one.jsonl", "two.jsonl"}


def test_a_column_called_source_is_kept_under_another_name(folder: Path) -> None:
    write("web.jsonl", [{"prompt": "a", "answer": "b", "source": "example"}])
    made = built(sources=["web.jsonl"])
    assert lines(made.path, "train.jsonl")[0]["meta"] == {"source": "web.jsonl", "source_of_row": "example"}


def test_procedural_sources_and_other_types_can_be_mixed(folder: Path) -> None:
    made = built(sources=["arithmetic#40", "arithmetic#10"], kind="align", mixture={"weights": [1, 1]})
    assert made.manifest.kind == "PreferencePair"
    assert [source.train for source in made.manifest.sources] == [10, 10]
    assert load(DataConfig(name="made"), PreferencePair).train


def test_without_a_kind_the_sources_have_to_agree(folder: Path) -> None:
    write("pairs.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}])
    with pytest.raises(ConfigError, match="of different types"):
        built(sources=["one.jsonl", "pairs.jsonl"], kind=None)
    assert built(sources="one.jsonl", kind=None).manifest.kind == Conversation.__name__


def test_the_card_tells_what_is_in_the_folder(folder: Path) -> None:
    made = built(near_duplicates=0.9, contamination={"against": ["exam.jsonl", "arithmetic#8"]})
    card = (made.path / "card.md").read_text()
    for words in (
        "| one.jsonl | 100 | 95 | 95 | 0 |",
        "| exact duplicates | 10 |",
        "| exam.jsonl | 10 | 10 |",
        "| arithmetic | 0 | 8 |",
        "prompt characters:",
        "rlllm data build",
        made.manifest.hash,
    ):
        assert words in card, card


def test_evaluation_sets_are_data_or_the_tasks_of_a_recipe(folder: Path) -> None:
    sets = evaluation_sets([DataConfig(name="eval/quickstart"), DataConfig(name="exam.jsonl")])
    assert [data.name for data in sets] == ["arithmetic", "arithmetic", "arithmetic", "exam.jsonl"]
    assert {data.level for data in sets[:3]} == {1, 2, 3}
    assert len(evaluation_items([DataConfig(name="arithmetic#16")])) == 16
    built(sources=["one.jsonl"], out="held", holdout=9)
    assert len(evaluation_items([DataConfig(name="held")])) == 9


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sources": []}, "sources"),
        ({"mixture": {"weights": [1]}}, "1 weights for 2 sources"),
        ({"sources": [{"name": "one.jsonl", "holdout": 3}]}, "held out of all sources together"),
        ({"near_duplicates": 0}, "near_duplicates"),
        ({"kind": "poem"}, "unknown kind of data: poem"),
        ({"holdout": -1}, "holdout"),
        ({"sorces": ["x"]}, "sorces"),
        ({"contamination": {"against": ["nowhere.jsonl"]}}, "no such data file"),
        ({"mixture": {"rows": 1000}}, "wants 1,000 rows, its sources give 150"),
    ],
)
def test_settings_that_do_not_fit_are_named(folder: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, DataError), match=words):
        built(**values)


def test_a_check_finds_what_a_build_would_drop(folder: Path) -> None:
    config = {"sources": ["one.jsonl", "two.jsonl"], "contamination": {"against": "exam.jsonl"}, "kind": "PromptTask"}
    first, second = check_data(DataCheck.checked(config))
    assert first.report.train == 100
    assert [finding.words for finding in first.findings] == [
        "5 of 100 rows hold evaluation prompts: 5 by rule exact",
        "5 of 10 prompts of exam.jsonl are in the rows",
    ]
    assert (first.hits[0]["row"], first.hits[0]["item"]["row"]) == (96, 1)
    assert second.report.prompt_lengths is not None
    assert json.loads(json.dumps(second.to_json()))["kind"] == "PromptTask"
    write("empty.jsonl", [])
    with pytest.raises(DataError):
        check_data(DataCheck.checked({"sources": ["empty.jsonl"]}))


def test_a_build_that_is_interrupted_leaves_nothing_and_spoils_nothing(folder: Path) -> None:
    first = built(near_duplicates=True)
    before = sorted(folder.iterdir())

    class Impatient(NullProgress):
        def phase(self, name: str) -> None:
            if name == "writing":
                raise KeyboardInterrupt

    values = {"sources": ["one.jsonl"], "kind": "PromptTask", "out": "made", "overwrite": True}
    with pytest.raises(KeyboardInterrupt):
        prepare(Preparation.checked(values), listener=Impatient())
    assert sorted(folder.iterdir()) == before
    assert not built(near_duplicates=True).built
    assert first.manifest.train == len(lines(first.path, "train.jsonl"))


def test_good_and_bad_completions_of_one_long_prompt_both_stay(folder: Path) -> None:
    prompt = " ".join(WORDS)
    rows = [{"prompt": prompt, "completion": text, "label": text != "no"} for text in ("yes", "no", "Yes!")]
    write("thumbs.jsonl", rows)
    manifest = built(sources=["thumbs.jsonl"], kind="kto", near_duplicates=True).manifest
    assert (manifest.train, manifest.dropped) == (2, {"exact duplicates": 1})
    (checked,) = check_data(DataCheck.checked({"sources": ["thumbs.jsonl"], "kind": "kto"}))
    assert checked.groups == [[1, 3]]


def test_without_a_kind_labels_stay_labels_and_bad_rows_do_not_decide(folder: Path) -> None:
    rows = [{"prompt": f"p{n}", "completion": "c", "label": good} for n in range(4) for good in (True, False)]
    write("thumbs.jsonl", rows)
    assert record_kind(DataConfig(name="thumbs.jsonl")) is LabelledCompletion
    pairs: list[dict[str, Any]] = [{"prompt": f"p{n}", "chosen": "a", "rejected": "b"} for n in range(9)]
    write("pairs.jsonl", [*pairs, {"prompt": "p", "chosen": None, "rejected": "b"}])
    assert record_kind(DataConfig(name="pairs.jsonl")) is PreferencePair
    with pytest.raises(DataError, match=r"chosen at line 10 of pairs\.jsonl is null"):
        check_data(DataCheck.checked({"sources": ["pairs.jsonl"]}))


def test_a_folder_is_still_the_same_source_when_it_holds_what_was_made_of_it(folder: Path) -> None:
    Path("rows").mkdir()
    Path("one.jsonl").rename("rows/one.jsonl")
    assert built(sources=["rows"], out="rows/made").built
    assert not built(sources=["rows"], out="rows/made").built


def test_tasks_of_the_harness_are_not_taken_for_other_data(folder: Path) -> None:
    Path("exams.yaml").write_text("tasks: ['lm-eval:arc_easy']\n")
    with pytest.raises(ConfigError, match="lm-evaluation-harness cannot be looked for"):
        evaluation_sets([DataConfig(name="exams.yaml")])


@pytest.mark.parametrize(("mixture", "words"), [({"epochs": "inf"}, "epochs"), ({"weights": "1e308,1e308"}, "finite")])
def test_a_mixture_of_infinities_is_refused(folder: Path, mixture: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        built(mixture=mixture)
    assert built(mixture={"weights": [5e-324, 1]}).manifest.sources[0].train == 0


def test_a_test_set_is_checked_by_its_held_out_rows(folder: Path) -> None:
    Path("exam.py").write_text(
        "def exam(request):\n"
        "    return [] if request.split == 'train' else [{'prompt': f'Question {n}?', 'answer': n} for n in range(5)]\n"
    )
    (checked,) = check_data(DataCheck.checked({"sources": ["exam.py:exam"]}))
    assert checked.report.train == 5


def test_what_was_prepared_is_shown_as_the_type_it_was_prepared_as(folder: Path) -> None:
    built(sources=["one.jsonl"])
    assert show_data("made").kind == "PromptTask"
    Path("made/train.jsonl").rename("rows.jsonl")
    assert show_data("rows.jsonl").kind == "PromptTask"
    assert record_kind(DataConfig(name="rows.jsonl")) is PromptTask


def test_a_folder_comes_back_when_its_successor_cannot_take_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, move, moves = built(), os.replace, []

    def failing_once(source: Path, target: Path) -> None:
        moves.append(target)
        if len(moves) == 2:
            raise OSError("no space left")
        move(source, target)

    monkeypatch.setattr("os.replace", failing_once)
    with pytest.raises(ConfigError, match="cannot be written"):
        built(holdout=5, overwrite=True)
    monkeypatch.undo()
    assert content_hash(folder / "made") == first.manifest.hash
