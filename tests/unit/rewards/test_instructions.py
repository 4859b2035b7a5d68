"""The instructions of IFEval: a text that follows and one that does not, for every one of the 25."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.verifiers.instructions.reward import Instructions
from rlllm.rewards.verifiers.instructions.table import CHECKS
from rlllm.rewards.verifiers.instructions.words import count_sentences

ENGLISH = "this is the answer that you have been waiting for"
GERMAN = "Das ist die Antwort, auf die wir nicht mehr gewartet haben."

CASES: list[tuple[str, dict[str, Any], str, bool]] = [
    # instruction, arguments, text, followed
    ("keywords:existence", {"keywords": ["tree", "C++"]}, "A Tree in C++.", True),
    ("keywords:existence", {"keywords": ["tree", "bush"]}, "A tree.", False),
    ("keywords:existence", {"keywords": ["a.b"]}, "a-b", False),
    ("keywords:forbidden_words", {"forbidden_words": ["cat", "dog"]}, "A catalogue.", True),
    ("keywords:forbidden_words", {"forbidden_words": ["cat", "dog"]}, "No DOG here.", False),
    ("keywords:forbidden_words", {"forbidden_words": ["("]}, "a ( b", False),
    ("keywords:frequency", {"keyword": "yes", "frequency": 2, "relation": "at least"}, "Yes, yes.", True),
    ("keywords:frequency", {"keyword": "yes", "frequency": 2, "relation": "at least"}, "Yes.", False),
    ("keywords:frequency", {"keyword": "yes", "frequency": 2, "relation": "less than"}, "Yes, yes.", False),
    ("keywords:letter_frequency", {"letter": "q", "let_frequency": 2, "let_relation": "at least"}, "Quick q", True),
    ("keywords:letter_frequency", {"letter": "q", "let_frequency": 2, "let_relation": "less than"}, "Quick q", False),
    ("keywords:letter_frequency", {"letter": "!", "let_frequency": 1, "let_relation": "at least"}, "Go!", True),
    ("language:response_language", {"language": "de"}, GERMAN, True),
    ("language:response_language", {"language": "de"}, ENGLISH, False),
    ("language:response_language", {"language": "hi"}, "यह एक वाक्य है और यह हिंदी में है", True),
    ("language:response_language", {"language": "ja"}, "これは日本語の文です。", True),
    ("language:response_language", {"language": "zh"}, "これは日本語の文です。", False),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one two three", True),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "one two three", False),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "! ! ! ! !", False),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        "Dr. Lee left. He ran!",
        True,
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "at least"},
        "Dr. Lee left. He ran!",
        False,
    ),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. . . ! ! ?", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "One.\n***\nTwo.", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\nOne.\n***\nTwo.\n***", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "One.\n\nTwo.", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "One.\n***\n***\nTwo.", False),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "weekend"},
        "One.\n\nWeekend, then.",
        True,
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "weekend"},
        "One.\n\nThe weekend.",
        False,
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "weekend"},
        "One.\n\nWeekend.",
        False,
    ),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\n\nP.S. Call me.", True),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\n\nP.S.", False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\n\nP.P.S. Call me.", False),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\n\nP.P.S. Call me.", True),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\n\nP.S. Call me.", False),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "Dear [name], at [place].", True),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[][ ][name]", False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "List:\n* one\n- two", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* **one**\n* two\n---", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n* two\n* three", False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "---\n***\n- \n*", False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "A *first* and **second**.", True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "A **first** only.", False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "2 * 3 * 4 ** ** * *", False),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1\nText.\n**SECTION 2**\nMore.",
        True,
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1\nSECTION 2\nText.",
        False,
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1\nText.\nSECTION 1\nText.",
        False,
    ),
    ("detectable_format:json_format", {}, '{"a": [1]}', True),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', True),
    ("detectable_format:json_format", {}, 'Here: {"a": [1]}', False),
    ("detectable_format:json_format", {}, '{"a": [1]', False),
    ("detectable_format:title", {}, "<<A poem>>\nText.", True),
    ("detectable_format:title", {}, "<A poem> << >> <<\n>>", False),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", True),
    ("detectable_format:constrained_response", {}, "Perhaps.", False),
    ("detectable_format:constrained_response", {}, "My answer is yes. My answer is no. My answer is maybe.", False),
    ("combination:two_responses", {}, "One.\n******\nTwo.", True),
    ("combination:two_responses", {}, "One.\n******\nOne.", False),
    ("combination:two_responses", {}, "One.\n******\nTwo.\n******\nThree.", False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Say it. I say it.", True),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "I say it.", False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Say it.", False),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NO and YES",
        True,
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        "NO and YES",
        False,
    ),
    ("change_case:english_capital", {}, ENGLISH.upper(), True),
    ("change_case:english_capital", {}, ENGLISH, False),
    ("change_case:english_capital", {}, GERMAN.upper(), False),
    ("change_case:english_lowercase", {}, ENGLISH, True),
    ("change_case:english_lowercase", {}, ENGLISH.title(), False),
    ("startend:end_checker", {"end_phrase": "Any questions?"}, 'So it is. Any Questions?"', True),
    ("startend:end_checker", {"end_phrase": "Any questions?"}, "Any questions? No.", False),
    ("startend:quotation", {}, ' "It is." ', True),
    ("startend:quotation", {}, '""', False),
    ("startend:quotation", {}, '"It is.', False),
    ("punctuation:no_comma", {}, "It is; so there.", True),
    ("punctuation:no_comma", {}, "It is, so there.", False),
    ("punctuation:no_comma", {}, "\u597d\uff0c\u597d", False),
]


def row(names: list[str], kwargs: Any) -> dict[str, Any]:
    return {"instruction_id_list": names, "kwargs": kwargs}


@pytest.mark.parametrize(("name", "arguments", "text", "followed"), CASES)
def test_an_instruction_is_followed_or_not(name: str, arguments: dict[str, Any], text: str, followed: bool) -> None:
    assert Instructions()(Sample("q", text, meta=row([name], [arguments]))).value == float(followed)


def test_every_instruction_has_a_text_that_follows_and_one_that_does_not() -> None:
    assert {(name, followed) for name, _, _, followed in CASES} == {(n, f) for n in CHECKS for f in (True, False)}


@pytest.mark.parametrize("name", sorted(CHECKS))
@pytest.mark.parametrize("mode", ["strict", "loose"])
def test_an_empty_completion_follows_nothing(name: str, mode: str) -> None:
    arguments = next(arguments for known, arguments, _, _ in CASES if known == name)
    assert Instructions(mode)(Sample("q", " \n ", meta=row([name], [arguments]))).value == 0.0


BOTH = row(["punctuation:no_comma", "startend:quotation"], [{}, {}])


def test_all_wants_every_instruction_and_share_counts_them() -> None:
    half = Sample("q", '"a, b"', meta=BOTH)
    assert Instructions()(half).value == 0.0
    assert Instructions(aggregate="share")(half).value == 0.5
    assert (
        Instructions(aggregate="share")(half).parsed == "punctuation:no_comma not followed, startend:quotation followed"
    )


def test_the_loose_mode_forgives_a_first_or_last_line_and_asterisks() -> None:
    for text in ('Sure, here:\n"It is."', '"It is."\nAnything else, sir?', 'Sure, here:\n**"It is."**\nBye, now.'):
        assert Instructions("strict")(Sample("q", text, meta=BOTH)).value == 0.0
        assert Instructions("loose")(Sample("q", text, meta=BOTH)).value == 1.0


def test_published_rows_fill_what_does_not_apply_with_null() -> None:
    filled = {"num_words": 2.0, "relation": "at least", "keywords": None, "letter": None}
    assert Instructions()(Sample("q", "a b", meta=row(["length_constraints:number_words"], [filled]))).value == 1.0
    text = json.dumps([{"num_words": 2, "relation": "at least"}])
    assert Instructions()(Sample("q", "a b", meta=row(["length_constraints:number_words"], text))).value == 1.0
    assert Instructions()(Sample("q", "a b", meta=row(["punctuation:no_comma"], None))).value == 1.0


UNREADABLE = [
    ({}, "no instruction_id_list"),
    (row([], []), "no instruction_id_list"),
    (row(["punctuation:no_comma", "new:thing"], [{}, {}]), "unknown instructions: new:thing"),
    (row(["punctuation:no_comma"], []), "one entry for each"),
    (row(["punctuation:no_comma"], ["{"]), "not JSON"),
    (row(["punctuation:no_comma"], [{"n": 1}]), "punctuation:no_comma"),
    (row(["length_constraints:number_words"], [{"num_words": 3}]), "relation"),
    (row(["length_constraints:number_words"], [{"num_words": "many", "relation": "at least"}]), "num_words"),
    (row(["length_constraints:number_words"], [{"num_words": 3, "relation": "about"}]), "unknown relation"),
]


@pytest.mark.parametrize(("meta", "note"), UNREADABLE)
def test_a_row_that_cannot_be_read_cannot_judge(meta: dict[str, Any], note: str) -> None:
    score = Instructions()(Sample("q", "text", meta=meta))
    assert score.value is None
    assert note in str(score.note)


def test_an_undecided_language_cannot_judge_unless_another_instruction_fails() -> None:
    unclear = row(["language:response_language", "punctuation:no_comma"], [{"language": "en"}, {}])
    assert Instructions()(Sample("q", "Xyzzy plugh", meta=unclear)).value is None
    assert Instructions()(Sample("q", "Xyzzy, plugh", meta=unclear)).value == 0.0
    assert Instructions(aggregate="share")(Sample("q", "Xyzzy, plugh", meta=unclear)).value is None


SENTENCES = [
    ("", 0),
    ("One", 1),
    ("One. Two! Three? Four", 4),
    ('He said "No." Then he left.', 2),
    ("Mr. Smith and Mrs. Jones, e.g. at 3.14 p.m. or so, met. Good.", 2),
    ("Wait... What?! Yes.", 3),
    ("\u597d\u3002\u5f88\u597d\uff01\u771f\u7684\uff1f", 3),
    ("You and I. We know.", 2),
]


@pytest.mark.parametrize(("text", "count"), SENTENCES)
def test_sentences_end_where_a_reader_says_so(text: str, count: int) -> None:
    assert count_sentences(text) == count


def test_unknown_settings_are_config_errors() -> None:
    with pytest.raises(ConfigError, match="mode of the reward instructions"):
        Instructions("lax")
    with pytest.raises(ConfigError, match="aggregate of the reward instructions"):
        Instructions(aggregate="mean")


EVERYTHING = {name: arguments for name, arguments, _, _ in CASES}


@pytest.mark.parametrize("aggregate", ["all", "share"])
@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from(["***", "\n", "*", "- ", "[", "]", "P.S.", '"', "a. ", "<<", ">>"])).map("".join)
)
def test_any_text_gets_a_share_or_none(aggregate: str, text: str) -> None:
    meta = row(list(EVERYTHING), list(EVERYTHING.values()))
    value = Instructions("loose", aggregate)(Sample("q", text, meta=meta)).value
    assert value is None or 0.0 <= value <= 1.0


@pytest.mark.parametrize("piece", ["<", "[", "*", "\n", " ", "- ", ".", "p.", "SECTION 1 ", '"', "```\n", "$", "\\["])
def test_long_repetitions_take_no_time(piece: str) -> None:
    meta = row(list(EVERYTHING), list(EVERYTHING.values()))
    assert Instructions()(Sample("q", piece * 30_000, meta=meta)).value == 0.0
