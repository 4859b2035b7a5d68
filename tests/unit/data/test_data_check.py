"""What a check counts."""

from __future__ import annotations

from rlllm.core.records import Conversation, PreferencePair, PromptTask, StepwiseSolution
from rlllm.data.inspect.summary import Lengths, check
from rlllm.data.load import Loaded


def test_lengths_are_nearest_rank_quantiles_in_characters() -> None:
    lengths = Lengths.of_counts(dict.fromkeys(range(1, 101), 1))
    assert lengths == Lengths(shortest=1, median=50, p90=90, p99=99, longest=100)
    assert Lengths.of_counts({2: 1}) == Lengths(2, 2, 2, 2, 2)
    assert Lengths.of_counts({}) is None


def test_pairs_are_counted_with_their_duplicates_and_identical_completions() -> None:
    pairs = [PreferencePair("p", "a", "b"), PreferencePair("p", "a", "a"), PreferencePair("q", "abc", "")]
    report = check(Loaded(pairs, [PreferencePair("r", "abcd", "efghijk")], "pairs.jsonl", columns={"prompt": "ask"}))
    assert (report.kind, report.train, report.holdout) == ("PreferencePair", 3, 1)
    assert (report.duplicate_prompts, report.identical_pairs) == (1, 1)
    assert report.empty_fields == {"rejected": 1}
    assert report.longest_row == ("holdout", 1, 12)
    assert report.prompt_lengths == Lengths(1, 1, 1, 1, 1)
    lines = report.lines()
    assert "chosen equals rejected in 1 pairs" in lines
    assert "repeated prompts: 1 of 3 training rows" in lines
    assert "columns: prompt=ask" in lines


def test_every_record_type_can_be_checked() -> None:
    for record in (
        PromptTask([{"role": "user", "content": "hello"}]),
        Conversation("", "text"),
        StepwiseSolution("p", ("a", "b"), (True, False)),
    ):
        report = check(Loaded([record], [], "x"))
        assert report.lines()[0] == "x"


def test_a_clean_data_set_is_told_in_a_few_lines() -> None:
    report = check(Loaded([PromptTask("2 + 2 =", "4")], [], "one.jsonl: 1 training rows"))
    assert report.lines() == [
        "one.jsonl: 1 training rows",
        "prompt characters: 7 to 7, median 7, p90 7, p99 7",
        "answer characters: 1 to 1, median 1, p90 1, p99 1",
        "longest row: number 1 of train, 8 characters",
    ]
