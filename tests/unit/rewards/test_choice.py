"""Multiple choice: what counts as committing to one option, and what never does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.verifiers.choice import Choice, read_options

CITIES = ["Paris", "London", "Rome", "A small town"]


def sample(completion: str, answer: str | None = "B", choices: Any = CITIES) -> Sample:
    return Sample("Which city?", completion, answer, {"choices": choices})


COMPLETIONS = [
    # other options called wrong
    ("B is right, A is wrong.", 1.0),
    ("Option B is correct and option A is wrong.", 1.0),
    ("B is correct; A, C and D are incorrect.", 1.0),
    ("A is wrong, so B is correct.", 1.0),
    ("The answer is B, and A is wrong.", 1.0),
    ("B is right, B is wrong.", 0.0),
    ("A and B are correct, C is wrong.", 0.0),
    ("I think B is correct, A is wrong, but C is correct", 0.0),
    ("B is correct, A is not wrong.", 0.0),
    ("A is correct, B is wrong", 0.0),
    # a conclusion that is a letter, and a label before a word without a blank
    ("Thus, B.", 1.0),
    ("Thus, B?", 0.0),
    ("Thus, A or B.", 0.0),
    ("Select B", 1.0),
    ("Select A or B", 0.0),
    ("答えはBです。", 1.0),
    ("答えはBではありません。", 0.0),
    ("答えはBですか?", 0.0),
    ("정답은 B입니다.", 1.0),
    ("정답은 B가 아닙니다.", 0.0),
    ("答案是B因为伦敦在英国", 1.0),
    ("答案是B选项", 1.0),
    # completion, value where B (London) is right
    ("#### B", 1.0),
    ("\\boxed{B}", 1.0),
    ("\\boxed{\\text{B}}", 1.0),
    ("<answer>(b)</answer>", 1.0),
    ("<answer>London</answer>", 1.0),
    ("<answer>B) London</answer>", 1.0),
    ("<answer>B. london.</answer>", 1.0),
    ("<answer>B) Paris</answer>", 0.0),
    ("B", 1.0),
    ("**B**", 1.0),
    ("(B) London", 1.0),
    ("London", 1.0),
    ("The answer is (B).", 1.0),
    ("The answer is **B**.", 1.0),
    ("The correct answer to this question is B.", 1.0),
    ("The best choice is B, since it is large.", 1.0),
    ("Answer: B", 1.0),
    ("Answer:\n\nB) London", 1.0),
    ("The answer is London, because of the Thames.", 1.0),
    ("The answer is B. A is too small.", 1.0),
    ("First I thought the answer is A. But no: the answer is B.", 1.0),
    ("<think>The answer is A.</think>The answer is B.", 1.0),
    ("The answer is A.", 0.0),
    ("The answer is not B.", 0.0),
    ("The answer is not A but B.", 0.0),
    ("The answer is B or C.", 0.0),
    ("The answer is B, C and D.", 0.0),
    ("The answer is B. No, the answer is not B.", 0.0),
    ("The answer is A. The answer is B. The answer is C. The answer is D. The answer is B.", 0.0),
    ("A small town is nice.", 0.0),
    ("A", 0.0),
    ("", 0.0),
    ("   ", 0.0),
    ("<think>B", 0.0),
    # attacks: every option named, in every way
    ("A B C D", 0.0),
    ("A\nB\nC\nD", 0.0),
    ("A, B, C, D", 0.0),
    ("A) Paris\nB) London\nC) Rome\nD) A small town", 0.0),
    ("#### A\n#### B\n#### C\n#### D", 0.0),
    ("#### D\n#### B", 0.0),
    ("\\boxed{A, B, C, D}", 0.0),
    ("<answer>A or B</answer>", 0.0),
    ("The answer is A, B, C or D", 0.0),
    ("The answer is Paris, London or Rome.", 0.0),
    ("The answer is one of the options (A) Paris (B) London (C) Rome (D) A small town", 0.0),
    # the option in front, other verbs, other languages, JSON, full-width
    ("\uff22", 1.0),
    ("Option B is correct.", 1.0),
    ("Option B is the correct answer.", 1.0),
    ("B is the correct answer.", 1.0),
    ("**B** is correct, since London is large.", 1.0),
    ("(B) is the best option", 1.0),
    ("Therefore, choice B is right.", 1.0),
    ("Option A is wrong. Option B is correct.", 1.0),
    ("Option B is correct because Rome (C) is in Italy.", 1.0),
    ("I choose B.", 1.0),
    ("I'd go with (B).", 1.0),
    ("We select option B", 1.0),
    ("My choice is B", 1.0),
    ("\\boxed{\\text{Option B}}", 1.0),
    ("<answer>Option B</answer>", 1.0),
    ("#### **B**", 1.0),
    ("\\[ \\boxed{B} \\]", 1.0),
    ("\\fbox{B}", 1.0),
    ("\u7b54\u6848\u662fB", 1.0),
    ("\u7b54\u6848\uff1aB\u3002", 1.0),
    ("\u6b63\u786e\u7b54\u6848\u4e3aB\u3002", 1.0),
    ("\u6545\u9009B", 1.0),
    ("\u9009\u62e9B", 1.0),
    ("\u6240\u4ee5\u9009\u9879B\u6b63\u786e", 1.0),
    ("\u7b54\u3048\u306fB", 1.0),
    ("\uc815\ub2f5\uc740 B", 1.0),
    ("La r\u00e9ponse est B.", 1.0),
    ("Die richtige Antwort ist B.", 1.0),
    ("La respuesta correcta es B", 1.0),
    ("\u041e\u0442\u0432\u0435\u0442: B", 1.0),
    ('{"answer": "B"}', 1.0),
    ('```json\n{"reason": "A is small", "answer": "B"}\n```', 1.0),
    ("Answer\nB", 1.0),
    ("## Final answer\n\n**B) London**", 1.0),
    ("The answer is (B) because Paris (A) is in France.", 1.0),
    ("Option A is correct.", 0.0),
    ("Option B is not correct.", 0.0),
    ("Option B is incorrect.", 0.0),
    ("I do not think option B is correct.", 0.0),
    ("If option B is correct, then I am a hat.", 0.0),
    ("Is option B is correct?", 0.0),
    ("Option B is correct, but so is C.", 0.0),
    ("Options A, B and C are correct.", 0.0),
    ("Neither A nor B is correct.", 0.0),
    ("Option B is correct. Option A is correct. Option C is correct.", 0.0),
    ("I choose A or B.", 0.0),
    ("I would not choose B.", 0.0),
    ("\u7b54\u6848\u662fA", 0.0),
    ("\u7b54\u6848\u4e0d\u662fB", 0.0),
    ("\u4e0d\u9009B", 0.0),
    ("\u9009B\u548cC", 0.0),
    ('{"answer": "A"}', 0.0),
    ('{"answer": "A or B"}', 0.0),
    ("Die Antwort ist nicht B", 0.0),
    ("The answer is A because B is small.", 0.0),
    ("b is the letter that is correct", 0.0),
]


@pytest.mark.parametrize(("completion", "value"), COMPLETIONS)
def test_one_option_has_to_be_committed_to(completion: str, value: float) -> None:
    assert Choice()(sample(completion)).value == value


REFERENCES = [
    # choices, answer, reference, completion, value
    (CITIES, "B", "auto", "B", 1.0),
    (CITIES, "b", "auto", "B", 1.0),
    (CITIES, "1", "auto", "B", 1.0),
    (CITIES, "London", "auto", "B", 1.0),
    (CITIES, "E", "auto", "B", None),
    (CITIES, "4", "auto", "B", None),
    (CITIES, None, "auto", "B", None),
    (["1", "2", "3"], "1", "auto", "B", None),
    (["1", "2", "3"], "1", "index", "B", 1.0),
    (["1", "2", "3"], "1", "text", "A", 1.0),
    (["B", "A"], "A", "auto", "A", None),
    (["B", "A"], "A", "label", "A", 0.0),
    ({"A": "x", "B": "y"}, "B", "auto", "y", 1.0),
    ({"text": ["x", "y"], "label": ["1", "2"]}, "2", "label", "2", 1.0),
    (["same", "same", "other"], "A", "auto", "same", 1.0),
    ("no list", "A", "auto", "A", None),
    ('["x", "y"]', "B", "auto", "y", 1.0),
    ("['x', 'y']", "B", "auto", "B", 1.0),
    ('{"A": "x", "B": "y"}', "B", "auto", "x", 0.0),
    (["A. x", "B. y"], "B", "auto", "The answer is y", 1.0),
    (["A) x", "B) y"], "B", "auto", "The answer is x", 0.0),
    (["(1) x", "(2) y"], "2", "label", "2", 1.0),
    (["B. x", "A. y"], "A", "label", "B. x", 1.0),
    (CITIES, "**B**", "auto", "B", 1.0),
    (CITIES, "(B)", "auto", "B", 1.0),
    (CITIES, "B. London", "auto", "B", 1.0),
    (CITIES, "B. London", "auto", "A", 0.0),
    (CITIES, '{"target": ["B", "C"]}', "auto", "C", 1.0),
    (CITIES, '{"target": ["B", "C"]}', "auto", "A", 0.0),
    ([], "A", "auto", "A", None),
    (["x"], "A", "auto", "A", None),
    (None, "A", "auto", "A", None),
]


@pytest.mark.parametrize(("choices", "answer", "reference", "completion", "value"), REFERENCES)
def test_the_reference_is_a_label_an_index_or_a_text(
    choices: Any, answer: str | None, reference: str, completion: str, value: float | None
) -> None:
    assert Choice(reference=reference)(sample(completion, answer, choices)).value == value


@pytest.mark.parametrize("stated", ["12.5", "12,5", "12%", "12/5", "12 + 1", "120", "12th"])
def test_the_beginning_of_another_number_is_no_option(stated: str) -> None:
    assert Choice()(sample(f"The answer is {stated}", "A", ["12", "13"])).value == 0.0
    assert Choice()(sample("The answer is 12 kilometres.", "A", ["12", "13"])).value == 1.0


def test_options_of_a_list_can_be_numbered() -> None:
    assert Choice(labels="numbers", reference="label")(sample("The answer is 2.", "2")).value == 1.0
    assert read_options(["x", "y"], "numbers") == {"1": "x", "2": "y"}


def test_an_ambiguous_reference_is_named() -> None:
    note = Choice()(sample("B", "1", ["1", "2"])).note
    assert note is not None
    assert "set `reference`" in note


def test_unknown_settings_are_config_errors() -> None:
    with pytest.raises(ConfigError, match="labels of the reward choice"):
        Choice(labels="roman")
    with pytest.raises(ConfigError, match="reference of the reward choice"):
        Choice(reference="lable")


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["A", "B", "London", "The answer is ", "(", ")", "####", "\n", "."])).map("".join)
)
def test_any_text_is_right_or_wrong(completion: str) -> None:
    assert Choice()(sample(completion)).value in (0.0, 1.0)


@pytest.mark.parametrize(
    "piece",
    [
        "The answer is ",
        "(",
        "*",
        " ",
        "\\boxed{",
        "#### ",
        "A) ",
        "answer to ",
        "I choose ",
        "B is ",
        "\u9009",
        "option ",
    ],
)
def test_long_repetitions_take_no_time(piece: str) -> None:
    assert Choice()(sample(piece * 20_000)).value == 0.0
