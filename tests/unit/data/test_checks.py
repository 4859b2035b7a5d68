"""What a check says stands out, and that it stays silent where nothing does; probabilities against SciPy."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask, Record, StepwiseSolution
from rlllm.data.inspect.checks import script_of, two_sided_p, uniform_p
from rlllm.data.inspect.summary import check_records


def found(records: Sequence[Record]) -> dict[str, str]:
    return {finding.name: finding.words for finding in check_records({"train": records}, "x").findings}


@pytest.mark.parametrize(
    "counts", [[10, 10], [30, 10], [5, 9, 1], [100, 80, 90, 130], [7, 0, 0, 0, 3], [1, 2, 3, 4, 5, 60]]
)
def test_the_chi_square_p_value_is_that_of_scipy(counts: list[int]) -> None:
    from scipy.stats import chisquare

    assert uniform_p(counts) == pytest.approx(chisquare(counts).pvalue, rel=1e-9)


@pytest.mark.parametrize(("hits", "total", "rate"), [(60, 100, 0.5), (500, 1000, 0.5), (9, 50, 0.25), (0, 40, 0.5)])
def test_the_p_value_of_a_share_is_near_the_exact_one(hits: int, total: int, rate: float) -> None:
    from scipy.stats import binomtest

    assert two_sided_p(hits, total, rate) == pytest.approx(binomtest(hits, total, rate).pvalue, abs=0.02)
    assert two_sided_p(0, 0) == 1.0


def test_choices_that_sit_on_one_letter_are_told_and_even_ones_are_not() -> None:
    draw = random.Random(0)
    biased = [PromptTask(f"q{n}", draw.choices("ABCD", [5, 2, 2, 1])[0]) for n in range(400)]
    even = [PromptTask(f"q{n}", f"({draw.choice('ABCD')})") for n in range(400)]
    assert "not evenly placed: A 4" in found(biased)["position"]
    assert found(even) == {}
    report = check_records({"train": even}, "x")
    assert set(report.labels) == {"A", "B", "C", "D"}


@pytest.mark.parametrize(("share", "words"), [(0.8, "longer one in"), (0.2, "shorter one in"), (0.5, None)])
def test_pairs_in_which_length_decides_are_told(share: float, words: str | None) -> None:
    draw = random.Random(1)
    pairs: list[Record] = []
    for number in range(500):
        long, short = "a" * 20, "b" * 10
        chosen, rejected = (long, short) if draw.random() < share else (short, long)
        pairs.append(PreferencePair(f"p{number}", chosen, rejected))
    assert found(pairs).get("length", "silent").find(words or "silent") >= 0


def test_unbalanced_labels_are_told() -> None:
    labelled: list[Record] = [LabelledCompletion(f"p{n}", "c", n % 10 != 0) for n in range(200)]
    steps: list[Record] = [StepwiseSolution(f"p{n}", ("a", "b"), (True, True)) for n in range(50)]
    assert "90% of 200 labels are 'true'" in found(labelled)["labels"]
    assert "100% of 100 labels are 'true'" in found(steps)["labels"]
    assert found([LabelledCompletion(f"p{n}", "c", n % 2 == 0) for n in range(200)]) == {}


def test_answers_that_all_differ_are_no_labels() -> None:
    records: list[Record] = [PromptTask(f"p{n}", str(n)) for n in range(100)]
    report = check_records({"train": records}, "x")
    assert (report.labels, report.findings) == ({}, [])


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello", "latin"),
        ("Größe", "latin"),
        ("Привет, world", "cyrillic"),
        ("你好世界", "cjk"),
        ("مرحبا", "arabic"),
        ("1 + 1 = ?", "none"),
        ("\U0001f600", "none"),
        ("", "none"),
    ],
)
def test_the_script_of_a_text_is_that_of_most_letters(text: str, script: str) -> None:
    assert script_of(text) == script


def test_a_mix_of_scripts_is_told() -> None:
    records = [Conversation("Hello", "x")] * 999 + [Conversation("Привет", "x")]
    assert found(records)["scripts"] == "prompts are in latin 100%, cyrillic under 1%"


def test_prompts_without_letters_are_in_no_script() -> None:
    records = [PromptTask("2 + 2 = ?"), PromptTask("What is 2 + 2?")]
    assert "scripts" not in found(records)
