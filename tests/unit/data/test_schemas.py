"""Rows of published data sets to records. `tests/fixtures/schemas/NAME.json` has the schema, some rows, and what they give."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import DataError
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    Sample,
    StepwiseSolution,
    stored_fields,
)
from rlllm.data.config import DataConfig
from rlllm.data.inspect.bad_rows import BadRows
from rlllm.data.io.formats import number_rows
from rlllm.data.load import Loaded, load
from rlllm.data.schemas.registry import SCHEMAS, find_schema
from rlllm.data.stream import stream
from rlllm.data.to_records import adapt
from rlllm.rewards.code.suites import suite_of
from rlllm.rewards.verifiers.choice import Choice

FIXTURES = Path(__file__).parents[2] / "fixtures" / "schemas"
CASES: dict[str, Any] = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FIXTURES.iterdir())}
KINDS: dict[str, type[Record]] = {
    kind.__name__: kind for kind in (PromptTask, Conversation, PreferencePair, LabelledCompletion, StepwiseSolution)
}
EXPECTED = [(name, KINDS[kind], case["records"][kind]) for name, case in CASES.items() for kind in case["records"]]


def rows_of(name: str) -> list[dict[str, Any]]:
    return [dict(row) for row in CASES[name]["rows"]]


def jsonl(folder: Path, name: str) -> str:
    """The rows of a fixture as a file."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(name)), encoding="utf-8")
    return str(path)


def loaded(folder: Path, name: str, kind: type[Record], **settings: Any) -> Loaded:
    return load(DataConfig(name=jsonl(folder, name), **settings), kind)


def made(rows: list[dict[str, Any]], kind: type[Record], bad: BadRows | None = None) -> list[Any]:
    return adapt(number_rows(rows, "rows"), kind, {}, "rows", bad)[0]


def content(record: Record) -> list[Any]:
    """The fields without `meta`, with lists for tuples; `trained_turns` only where there are some."""
    values = [value for name, value in stored_fields(record).items() if name != "meta"]
    return [list(value) if isinstance(value, tuple) else value for value in values]


@pytest.mark.parametrize(("name", "kind", "expected"), EXPECTED)
def test_published_rows_give_the_records_of_their_fixture(
    tmp_path: Path, name: str, kind: type[Record], expected: dict[str, Any]
) -> None:
    data, schema = loaded(tmp_path, name, kind), CASES[name]["schema"]
    assert [content(record) for record in data.train] == expected["fields"]
    assert {key for record in data.train for key in record.meta} == set(expected["meta"])
    assert (f"(schema {schema})" in data.source) == (schema is not None)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["schema"]])
def test_the_schema_of_rows_can_be_named_instead_of_recognised(tmp_path: Path, name: str) -> None:
    for kind in CASES[name]["records"]:
        named = loaded(tmp_path, name, KINDS[kind], row_schema=CASES[name]["schema"])
        assert named.train == loaded(tmp_path, name, KINDS[kind]).train


def test_every_schema_has_a_fixture() -> None:
    assert {case["schema"] for case in CASES.values()} - {None} == set(SCHEMAS.builtins)


@pytest.mark.parametrize("name", SCHEMAS.builtins)
def test_a_built_in_schema_is_named_like_its_file_and_says_what_it_is(name: str) -> None:
    schema = find_schema(name)
    assert schema.name == name
    assert schema.summary
    assert schema.needs


@pytest.mark.parametrize("name", CASES)
def test_no_two_schemas_of_equal_precedence_fit_the_same_rows(name: str) -> None:
    schemas = [find_schema(schema) for schema in SCHEMAS.builtins]
    for kind in KINDS.values():
        fitting = [s for s in schemas if kind in s.record_types and all(map(s.fits, rows_of(name)))]
        assert len({schema.precedence for schema in fitting}) == len(fitting)


@pytest.mark.parametrize("name", CASES)
def test_a_record_written_as_json_comes_back_as_the_same_record(tmp_path: Path, name: str) -> None:
    for kind in KINDS.values():
        try:
            records = loaded(tmp_path, name, kind).train
        except DataError:
            continue
        rows = [json.loads(json.dumps(asdict(record))) for record in records]
        assert made(rows, kind) == records
        assert list(stream(DataConfig(name=jsonl(tmp_path, name)), kind)) == records


MIXED = ("trl_", "alpaca_chat")
"""Fixtures whose prompts are text in one row and messages in another, which a table cannot hold."""


@pytest.mark.parametrize(("name", "kind", "expected"), [row for row in EXPECTED if not row[0].startswith(MIXED)])
def test_the_same_rows_as_a_table_of_typed_columns_give_the_same_records(
    tmp_path: Path, name: str, kind: type[Record], expected: dict[str, Any]
) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = rows_of(name)
    keys = dict.fromkeys(key for row in rows for key in row)
    table = pyarrow.Table.from_pylist([{key: row.get(key) for key in keys} for row in rows])
    parquet.write_table(table, tmp_path / "rows.parquet")
    data = load(DataConfig(name=str(tmp_path / "rows.parquet")), kind)
    assert [content(record) for record in data.train] == expected["fields"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SAID = TEXT.filter(lambda text: bool(text.strip()))
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": TEXT}), min_size=1, max_size=2
)
PROMPTS = SAID | MESSAGES
META = st.dictionaries(
    st.sampled_from(["answer", "prompt", "solution", "messages", "meta", "text", "label", "id"]),
    st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=2),
    max_size=4,
)
STEPS = st.lists(st.tuples(SAID, st.booleans()), min_size=1, max_size=3)


def _stepwise(prompt: Any, steps: list[tuple[str, bool]], meta: dict[str, Any]) -> StepwiseSolution:
    return StepwiseSolution(prompt, tuple(step for step, _ in steps), tuple(right for _, right in steps), meta)


RECORDS = st.one_of(
    st.builds(PromptTask, PROMPTS, st.none() | TEXT, META),
    st.builds(Conversation, TEXT.filter(lambda text: not text or bool(text.strip())) | MESSAGES, SAID, META),
    st.builds(PreferencePair, PROMPTS, SAID, TEXT, st.none() | st.floats(-9, 9), META),
    st.builds(LabelledCompletion, PROMPTS, SAID, st.booleans(), META),
    st.builds(_stepwise, PROMPTS, STEPS, META),
)


@settings(deadline=None)
@given(record=RECORDS)
def test_any_record_comes_back_from_json_as_it_was_whatever_its_other_columns_are_called(record: Record) -> None:
    assert made([json.loads(json.dumps(asdict(record)))], type(record)) == [record]


def test_a_stored_conversation_is_a_task_with_the_answer_that_its_completion_marks() -> None:
    marked = {"prompt": "1 + 2?", "completion": "1 + 2 = 3\n#### 3", "meta": {"level": 1}}
    rows = [marked, {**marked, "meta": {"answer": "three"}}, {**marked, "completion": "no mark"}]
    found, _ = adapt(number_rows(rows, "rows"), PromptTask, {}, "rows", BadRows())
    assert [task.answer for task in found] == ["3", "three", None]
    assert [task.meta for task in found] == [{"level": 1}, {}, {"level": 1}]


def test_a_stored_record_is_a_task_too_with_the_answer_of_its_columns() -> None:
    row = json.loads(json.dumps(asdict(PreferencePair("p", "a", "b", 1.0, {"answer": 4, "id": 1}))))
    assert made([row], PromptTask) == [PromptTask("p", "4", {"answer": 4, "id": 1})]


def test_rows_with_equal_scores_make_no_pair_and_are_counted(tmp_path: Path) -> None:
    data = loaded(tmp_path, "helpsteer2", PreferencePair)
    assert (len(data.train), data.undecided, data.skipped) == (1, 1, 0)
    assert "1 rows without a preference left out" in data.source


def test_columns_that_are_mapped_win_over_the_schema(tmp_path: Path) -> None:
    data = loaded(tmp_path, "gsm8k", PromptTask, columns={"prompt": "answer"})
    assert data.train[0].prompt.startswith("Two crates")
    assert "(schema" not in data.source


@pytest.mark.parametrize("name", ["arc", "commonsense_qa", "mmlu", "mmlu_pro", "option_columns"])
def test_the_reward_for_choices_reads_the_options_and_knows_the_right_one(tmp_path: Path, name: str) -> None:
    for task in loaded(tmp_path, name, PromptTask).train:
        right = Choice()(Sample(task.prompt, f"The answer is {task.answer}.", task.answer, task.meta))
        wrong = Choice()(Sample(task.prompt, "The answer is Z.", task.answer, task.meta))
        assert (right.value, wrong.value) == (1.0, 0.0)


@pytest.mark.parametrize("name", ["apps", "humaneval", "mbpp", "mbpp_sanitized"])
def test_the_reward_for_code_reads_the_tests(tmp_path: Path, name: str) -> None:
    for task in loaded(tmp_path, name, PromptTask).train:
        assert suite_of(Sample(task.prompt, "", None, task.meta))


def _without(name: str, key: str) -> dict[str, Any]:
    return {column: value for column, value in rows_of(name)[0].items() if column != key}


def _prm(steps: Any) -> dict[str, Any]:
    return {**rows_of("prm800k")[0], "label": {"steps": steps}}


MISFITS: list[tuple[str, type[Record], dict[str, Any], str]] = [
    (
        "gsm8k",
        PromptTask,
        {"question": "q", "answer": "no mark"},
        "the schema gsm8k: it needs question, and an answer that",
    ),
    ("math", PromptTask, {"problem": "p", "solution": "no box"}, "the schema math: it needs"),
    ("mmlu", PromptTask, {"question": "q", "choices": ["a", "b"], "answer": 2}, "the schema mmlu"),
    ("mmlu", PromptTask, {"question": "q", "choices": ["a", "b"], "answer": True}, "the schema mmlu"),
    ("arc", PromptTask, {**rows_of("arc")[0], "answerKey": "E"}, "the schema arc"),
    ("ultrafeedback", PreferencePair, {"instruction": "q", "completions": []}, "the schema ultrafeedback"),
    (
        "ultrafeedback",
        PreferencePair,
        {"instruction": "q", "completions": [{"response": "a", "overall_score": "N/A"}]},
        "has no number in overall_score",
    ),
    (
        "ultrafeedback_binarized",
        PreferencePair,
        {**rows_of("ultrafeedback_binarized")[0], "score_chosen": 1.0},
        "scores chosen below rejected: 1 and 3",
    ),
    ("helpsteer2", PreferencePair, {**rows_of("helpsteer2")[0], "prompt": "alone"}, "begins 1 rows with one prompt"),
    ("helpsteer2", PreferencePair, _without("helpsteer2", "response"), "the schema helpsteer2"),
    ("helpsteer3", PreferencePair, {**rows_of("helpsteer3")[0], "overall_preference": None}, "has no number in"),
    ("prm800k", StepwiseSolution, _prm([]), "has no rated step"),
    ("prm800k", StepwiseSolution, _prm([3]), "a step that is no object"),
    ("prm800k", StepwiseSolution, _prm([{"completions": [], "chosen_completion": 0}]), "chooses a completion"),
    ("prm800k", StepwiseSolution, _prm([{"completions": [{"text": "a", "rating": 5}]}]), "has the rating 5"),
    (
        "math_shepherd",
        StepwiseSolution,
        {**rows_of("math_shepherd")[0], "label": "something else"},
        "is not its input with . or - for the tag of step 1",
    ),
    ("apps", Conversation, {**rows_of("apps")[0], "solutions": "[oops"}, "solutions that are no JSON list"),
    ("apps", Conversation, {**rows_of("apps")[0], "solutions": "[]"}, "has no solution"),
    ("apps", Conversation, {**rows_of("apps")[0], "solutions": '["\\ud800"]'}, "half a character"),
    (
        "deepmath",
        Conversation,
        {**rows_of("deepmath")[0], **dict.fromkeys(["r1_solution_1", "r1_solution_2", "r1_solution_3"])},
        "has no solution",
    ),
    ("alpaca_chat", Conversation, {**rows_of("alpaca_chat")[0], "history": ["odd"]}, "a history that is not a list"),
    ("mbpp", PromptTask, {**rows_of("mbpp")[0], "test_list": []}, "the schema mbpp"),
    *(("hh_rlhf", PreferencePair, row, "data.row_schema=hh-rlhf-text") for row in rows_of("hh_rlhf_text")),
]


@pytest.mark.parametrize(("name", "kind", "row", "problem"), MISFITS)
def test_a_row_that_does_not_fit_the_schema_is_refused_or_counted(
    name: str, kind: type[Record], row: dict[str, Any], problem: str
) -> None:
    good = rows_of(name)
    with pytest.raises(DataError, match=problem) as caught:
        made([*good, row], kind)
    assert "row " in caught.value.what
    assert "data.on_bad_row=skip" in str(caught.value.hint)
    bad = BadRows("skip")
    assert made([*good, row], kind, bad) == made(good, kind)
    assert (bad.count, bad.examples) == (1, [caught.value.what])


LOOKALIKES: list[tuple[type[Record], dict[str, Any], tuple[Any, ...]]] = [
    (PromptTask, {"instruction": "i", "input": "x", "output": "long", "answer": "4"}, ("i\n\nx", "4")),
    (PromptTask, {"question": "q", "choices": ["1", "2", "3"], "answer": "2"}, ("q", "2")),
    (PromptTask, {"question": "q", "choices": ["B", "A"], "answer": "A"}, ("q", "A")),
    (PromptTask, {"question": "q", "A": "1", "C": "3", "answer": "C"}, ("q", "C")),
    (PreferencePair, {"chosen": "a", "rejected": "b", "prompt": "\n\nHuman: x"}, ("\n\nHuman: x", "a", "b", None)),
    (PromptTask, {"prompt": "p", "answer": "a", "meta": "text"}, ("p", "a")),
    (Conversation, {"prompt": "p", "completion": "a", "meta": {}, "id": 1}, ("p", "a")),
]


@pytest.mark.parametrize(("kind", "row", "fields"), LOOKALIKES)
def test_a_row_that_only_looks_like_a_schema_is_read_by_its_column_names(
    kind: type[Record], row: dict[str, Any], fields: tuple[Any, ...]
) -> None:
    assert [content(record) for record in made([row], kind)] == [list(fields)]


def test_dialogues_of_hh_rlhf_stay_text_where_that_is_asked_for(tmp_path: Path) -> None:
    as_text = loaded(tmp_path, "hh_rlhf", PreferencePair, row_schema="hh-rlhf-text").train
    assert content(as_text[-1]) == [
        "\n\nHuman: Hi.\n\nAssistant: Hello!\n\nHuman: Tell a fact.\n\nAssistant:",
        " Bees dance.",
        " No.",
        None,
    ]
    labelled = loaded(tmp_path, "hh_rlhf", LabelledCompletion).train
    turns = [record.prompt for record in loaded(tmp_path, "hh_rlhf", PreferencePair).train]
    assert [record.prompt for record in labelled if record.label] == turns


@pytest.mark.parametrize("column", ["ground_truth", "final_answer", "solution", "target"])
def test_a_label_beside_an_answer_is_not_the_answer(column: str) -> None:
    (task,) = made([{"prompt": "2 + 2?", column: "4", "label": "algebra"}], PromptTask)
    assert (task.answer, task.meta) == ("4", {"label": "algebra"})


def test_more_than_five_options_are_all_listed() -> None:
    options = {letter: f"option {letter}" for letter in "ABCDEFGH"}
    (task,) = made([{"question": "Which?", **options, "answer": "B"}], PromptTask)
    assert "H. option H" in task.prompt
    assert (task.answer, list(task.meta)) == ("B", ["choices"])


def test_a_row_of_verl_without_a_ground_truth_is_a_task_without_an_answer() -> None:
    prompt = [{"role": "user", "content": "2 + 2?"}]
    rows = [{"prompt": prompt, "reward_model": {"style": "rule", "ground_truth": answer}} for answer in ("4", None)]
    assert [task.answer for task in made([*rows, rows[0]], PromptTask)] == ["4", None, "4"]


def test_a_prompt_of_openrlhf_without_a_label_is_a_task_without_an_answer() -> None:
    rows = [{"input": "2 + 2?", "label": "4"}, {"input": "Why?", "label": None}]
    assert [task.answer for task in made(rows, PromptTask)] == ["4", None]


def test_a_box_without_braces_is_a_result_of_math() -> None:
    rows = [{"problem": "2 + 2?", "solution": text} for text in (r"It is $\boxed{4}.$", r"Hence $x = \boxed 4$.")]
    assert [task.answer for task in made(rows, PromptTask)] == ["4", "4"]
    assert [task.meta for task in made(rows, PromptTask)] == [{"solution": row["solution"]} for row in rows]
