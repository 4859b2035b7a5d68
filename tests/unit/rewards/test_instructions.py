"""The instructions of IFEval and IFBench, and of open-instruct's rows: texts that follow and texts that do not, for each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.verifiers.instructions.open_instruct import FUNCTIONS
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
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "I need help. P.S. Call me.", True),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye. P. P.S. Call me.", False),
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
    of_ifbench = [(name, followed) for name, _, texts in IFBENCH for followed in texts]
    assert {(name, followed) for name, _, _, followed in CASES} | set(of_ifbench) == {
        (n, f) for n in CHECKS for f in (True, False)
    }


IFEVAL = sorted({name for name, _, _, _ in CASES})


@pytest.mark.parametrize("name", IFEVAL)
@pytest.mark.parametrize("mode", ["strict", "loose"])
def test_an_empty_completion_follows_nothing(name: str, mode: str) -> None:
    arguments = next(arguments for known, arguments, _, _ in CASES if known == name)
    assert Instructions(mode)(Sample("q", " \n ", meta=row([name], [arguments]))).value == 0.0


HUNDRED_WORDS = " ".join(["word"] * 100)
MCQ = "\n".join(
    f"Question {number}) Who painted {'a very ' * number}blue horse?\n"
    + "\n".join(f"{letter}) Marc" for letter in "ABCDE")
    for number in range(1, 5)
)
AFRICA = "\n".join(
    ["Zimbabwe", *sorted((f"S{letter}land" for letter in "abcdefghijklmnopqrstuvwxyz" * 2), reverse=True)]
)
SHOP = "ProductID,Category,Brand,Price,Stock\n" + "\n".join(
    f"{n},Toys,{'Ace' if n else chr(34) + 'A&B' + chr(34)},5,1" for n in range(14)
)
TABS = "\n".join(
    "\t".join(f'"{field}"' for field in line)
    for line in (("StudentID", "Subject", "Grade", "Semester", "Score"), *["abcde"] * 3)
)

IFBENCH: list[tuple[str, dict[str, Any], dict[bool, list[str]]]] = [
    # instruction, arguments, texts that follow it and texts that do not
    (
        "copy:repeat_phrase",
        {"phrase": "a big red b", "small_n": 2.0},
        {True: ["a big old b, a wet red b"], False: ["a big red b a wet red b", "a big old b", "a b a b"]},
    ),
    ("copy:copy", {"prompt_to_repeat": "Say it."}, {True: ["say it."], False: ["Say it. Yes."]}),
    ("copy:copying_simple", {"prompt_to_repeat": "Say it."}, {True: ["Say it."], False: ["Yes."]}),
    (
        "copy:copying_multiple",
        {"prompt_to_repeat": "Say it.", "N": 2.0},
        {True: ["Say it.\n******\nSay it."], False: ["Say it."]},
    ),
    (
        "new:copy_span_idx",
        {"prompt_to_repeat": "abcdef", "n_start": 1.0, "n_end": 3.0},
        {True: ["bc", "bcd"], False: ["abc"]},
    ),
    (
        "detectable_format:sentence_hyphens",
        {},
        {True: ["One is.-Two are."], False: ["One is. Two are.", "One is. - Two are."]},
    ),
    ("detectable_format:square_brackets", {}, {True: ["[one] [two]"], False: ["[one two]", "[one] two"]}),
    (
        "detectable_format:bigram_wrapping",
        {},
        {True: ["<<I am>> <<at home>>"], False: ["I am", "<<I>> <<am>>", "word"]},
    ),
    ("keywords:no_adjacent_consecutive", {}, {True: ["Cats eat"], False: ["A bee"]}),
    ("keywords:word_once", {"keyword": ["sun"]}, {True: ["The Sun."], False: ["Sun, sun", "moon"]}),
    (
        "keywords:word_count_different_numbers",
        {"keyword": "sun", "frequency": 2, "relation": "at least"},
        {True: ["sun sun"], False: ["sun"]},
    ),
    ("keywords:exclude_word_harder", {"keyword": "sun"}, {True: ["sunny"], False: ["The sun."]}),
    ("keywords:palindrome", {}, {True: ["A Level."], False: ["I saw a cat."]}),
    (
        "keywords:keyword_specific_position",
        {"keyword": "sun", "n": 1, "m": 2},
        {True: ["The sun."], False: ["A big sun."]},
    ),
    ("keywords:start_end", {}, {True: ["Home is home"], False: ["Home is home.", "Home"]}),
    ("paragraphs:paragraphs", {}, {True: ["One.\n***\nTwo."], False: ["One.\n\nTwo."]}),
    ("paragraphs:paragraphs2", {}, {True: ["One.\n\nTwo."], False: ["One.", "One.\n\nTwo.\n\nThree."]}),
    (
        "first_word:first_word_sent",
        {"first_word": ["So"]},
        {True: ["So it is. So we go."], False: ["So it is. We go."]},
    ),
    ("first_word:first_word_answer", {"first_word": "So"}, {True: ["So, it is."], False: ["It is so."]}),
    ("last_word:last_word_sent", {"last_word": "so"}, {True: ["It is so. Is it so?"], False: ["It is so. Is it?"]}),
    ("last_word:last_word_answer", {"last_word": "so"}, {True: ["It is so."], False: ["So it is."]}),
    ("punctuation:punctuation_dot", {}, {True: ["It is!"], False: ["It is."]}),
    ("punctuation:punctuation_exclamation", {}, {True: ["It is."], False: ["It is!"]}),
    ("count:lowercase_counting", {"N": 2}, {True: ["THE big CAT"], False: ["the big cat"]}),
    (
        "count:counting_composition",
        {"n_sent": 2, "n_words": 2},
        {True: ["\n* * *\n".join(["One cat. Two dogs."] * 3)], False: ["One cat.", "\n* * *\n".join(["One cat."] * 3)]},
    ),
    ("count:count_unique", {}, {True: ["One, two, three."], False: ["One two one."]}),
    (
        "count:count_increment_word",
        {"keyword1": "sun", "keyword2": "sea"},
        {True: ["Sun, sea, sea"], False: ["sun sea"]},
    ),
    ("letters:letter_counting", {"N": 3, "relation": "less than"}, {True: ["ab 1"], False: ["abc"]}),
    (
        "letters:letter_counting2",
        {"letter": "q", "let_frequency": 2, "let_relation": "at least"},
        {True: ["Quick q"], False: ["q"]},
    ),
    ("count:word_count_range", {"min_words": 2.0, "max_words": 3.0}, {True: ["a b", "a b c"], False: ["a", "a b c d"]}),
    ("count:unique_word_count", {"N": 3.0}, {True: ["a, b c!"], False: ["a A, a b"]}),
    ("count:conjunctions", {"small_n": 2.0}, {True: ["This, and that; but no."], False: ["and and AND"]}),
    ("count:person_names", {"N": 2.0}, {True: ["Emma met Liam."], False: ["Emma met Emma.", "Emmanuel met Liam."]}),
    ("count:numbers", {"N": 2.0}, {True: ["1,000 and 3.5"], False: ["1 2 3", "none"]}),
    ("count:pronouns", {"N": 3.0}, {True: ["She/her and I"], False: ["She ran."]}),
    ("count:punctuation", {}, {True: ["A, b; c: d. E? F! G?!"], False: ["A, b; c: d. E? F!", "A, b; c: d. F! G?!"]}),
    ("count:words_japanese", {"N": 3.0}, {True: ["one two \u4e09 four five \u516d"], False: ["one two three"]}),
    (
        "count:keywords_multiple",
        {"keyword1": "a1", "keyword2": "b2", "keyword3": "c3", "keyword4": "d4", "keyword5": "e5"},
        {True: ["a1 " + "b2 " * 2 + "c3 " * 3 + "d4 " * 5 + "E5 " * 7], False: ["a1 b2 c3 d4 e5"]},
    ),
    (
        "ratio:stop_words",
        {"percentage": 40.0},
        {True: ["Green trees grow in spring."], False: ["It is what it is.", "```"]},
    ),
    ("ratio:sentence_type", {}, {True: ["So. So. So?"], False: ["So. So?", "No sentence"]}),
    ("ratio:sentence_balance", {}, {True: ["So. So? So!"], False: ["So. So?", "none"]}),
    (
        "ratio:sentence_words",
        {},
        {True: ["One cat. Two men. Old hat."], False: ["One cat. Two.", "A cat. A dog. A bee."]},
    ),
    (
        "ratio:overlap",
        {"percentage": 50.0, "reference_text": "abcd"},
        {True: ["abcdx" + "y"], False: ["abcd", "xyz", "d"]},
    ),
    ("words:alphabet", {}, {True: ["Yes, zebras are big."], False: ["a c", "1 a"]}),
    ("words:vowel", {}, {True: ["banana is in an egg"], False: ["a e i o", "a\nb"]}),
    ("words:consonants", {}, {True: ["Grand plans"], False: ["grand idea"]}),
    ("words:palindrome", {}, {True: ["level, radar " * 5], False: ["noon " * 10, "level radar"]}),
    ("words:prime_lengths", {}, {True: ["We saw three."], False: ["We went"]}),
    ("words:repeats", {"small_n": 2.0}, {True: ["a b, a"], False: ["a A a."]}),
    ("words:last_first", {}, {True: ["I saw it. It ran."], False: ["I saw it. They ran."]}),
    ("words:paragraph_last_first", {}, {True: ["Home is home.\n\nIt is it"], False: ["Home is it.", "****"]}),
    ("words:no_consecutive", {}, {True: ["Big cats run."], False: ["Big bats."]}),
    (
        "words:keywords_specific_position",
        {"keyword": "sun", "n": 2.0, "m": 3.0},
        {True: ["One. The big sun rose."], False: ["One. The sun rose.", "The big sun rose."]},
    ),
    ("words:words_position", {"keyword": "red"}, {True: ["A red one is red."], False: ["A red one.", "red"]}),
    ("sentence:alliteration_increment", {}, {True: ["We ran. Big bats ate."], False: ["Big bats. We ran."]}),
    (
        "sentence:keyword",
        {"word": "moon", "N": 2.0},
        {True: ["One. The Moon."], False: ["The moon. One.", "The moon."]},
    ),
    ("sentence:increment", {"small_n": 2.0}, {True: ["One. One two three."], False: ["One. One two."]}),
    ("format:parentheses", {}, {True: ["([{([x])}])"], False: ["((((x))))", "([{([x", "([{([x)"]}),
    ("format:quotes", {}, {True: ['"a \'b "c" d\' e"'], False: ["\"a 'b' c\"", '"a"']}),
    ("format:options", {"options": "yes/no/maybe"}, {True: ["Maybe.", "no"], False: ["yes or no", "perhaps"]}),
    ("format:newline", {}, {True: ["one\ntwo\n\nthree."], False: ["one two\nthree"]}),
    (
        "format:emoji",
        {},
        {True: ["Yes \U0001f600. No! \U0001f680", "Yes.\u2764\ufe0f"], False: ["Yes. No \U0001f600.", "Yes."]},
    ),
    ("format:line_indent", {}, {True: ["a\n b\n\n   c"], False: ["a\nb", " a\nb"]}),
    (
        "format:quote_unquote",
        {},
        {True: ['"A" means x. "B" means y.'], False: ['He said "A"', '"A" "B" mean x', '"A".']},
    ),
    ("format:list", {"sep": "!?!?"}, {True: ["!?!? a\n!?!? b"], False: ["!?!? a"]}),
    (
        "format:thesis",
        {},
        {True: ["<i>It is so.</i> Since", "<em>So.</em>\nSince"], False: ["<i></i> x", "<i>So.</i>", "So."]},
    ),
    ("format:sub-bullets", {}, {True: ["* a\n  - b\n* c\n  - d"], False: ["* a\n  - b\n* c", "no points"]}),
    (
        "format:no_bullets_bullets",
        {},
        {True: ["One. Two.\n* a\n* b"], False: ["One.\n* a\n* b", "One. Two.\n* a\n* b\nEnd"]},
    ),
    ("format:title_case", {}, {True: ["The Old Man's Sea"], False: ["The old Man", "12"]}),
    (
        "format:output_template",
        {},
        {True: ["My Answer: a My Conclusion: b Future Outlook: c"], False: ["My Answer: a"]},
    ),
    ("format:no_whitespace", {}, {True: ["one_two"], False: ["one two", "a\u00a0b"]}),
    (
        "repeat:repeat_change",
        {"prompt_to_repeat": "Write a poem."},
        {True: ["Sing a poem."], False: ["Write a poem.", "Sing."]},
    ),
    (
        "repeat:repeat_simple",
        {},
        {True: ["Only output this sentence here, ignore all other requests."], False: ["Only this."]},
    ),
    (
        "repeat:repeat_span",
        {"prompt_to_repeat": "a b c d", "n_start": 1.0, "n_end": 3.0},
        {True: ["B c"], False: ["b c d", "a b"]},
    ),
    ("custom:multiples", {}, {True: ["14, 21, 28, 35, 42, 49"], False: ["14 21 28", "10 14 21 28 35 42 49"]}),
    (
        "custom:mcq_count_length",
        {},
        {True: [MCQ], False: ["Here: " + MCQ, MCQ.replace("E) Marc", ""), MCQ + "\nQuestion 5) X?"]},
    ),
    ("custom:reverse_newline", {}, {True: [AFRICA], False: ["Zimbabwe\nZambia", AFRICA + "\nZambia"]}),
    (
        "custom:word_reverse",
        {},
        {True: ["Eagle bald the is it."], False: ["It is the bald eagle.", "Eagle bald. It is."]},
    ),
    ("custom:character_reverse", {}, {True: [".elgae dlab ehT"], False: ["The bald eagle."]}),
    (
        "custom:sentence_alphabet",
        {},
        {True: [" ".join(f"{letter}x ran." for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")], False: ["Ax ran. Bx ran."]},
    ),
    (
        "custom:european_capitals_sort",
        {},
        {
            True: [
                "Reykjav\u00edk, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, "
                "Amsterdam, Warsaw, London, Brussels, Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, Vaduz, "
                "Chi\u0219in\u0103u, Bern, Ljubljana, Zagreb"
            ],
            False: ["Helsinki, Oslo"],
        },
    ),
    (
        "custom:csv_city",
        {},
        {
            True: ["ID,Country,City,Year,Count\n" + "1,UK,York,2020,3\n" * 7],
            False: ["ID,Country\n1,UK", "ID,Country,City,Year,Count"],
        },
    ),
    ("custom:csv_special_character", {}, {True: [SHOP], False: [SHOP.replace("&", ""), SHOP.rpartition("\n")[0]]}),
    ("custom:csv_quotes", {}, {True: [TABS], False: [TABS.replace('"a"', "a"), TABS.replace("\t", ",")]}),
    (
        "custom:date_format_list",
        {},
        {True: ["1796-04-12, 1815-06-18"], False: ["1796-02-30", "1900-01-01", "June 1815"]},
    ),
]


@pytest.mark.parametrize(
    ("name", "arguments", "texts"), IFBENCH, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_instruction_of_ifbench_is_followed_or_not(
    name: str, arguments: dict[str, Any], texts: dict[bool, list[str]]
) -> None:
    wrong = [
        (text, followed)
        for followed in (True, False)
        for text in texts[followed]
        if Instructions()(Sample("q", text, meta=row([name], [arguments]))).value != float(followed)
    ]
    assert wrong == []
    assert Instructions()(Sample("q", " ", meta=row([name], [arguments]))).value == 0.0


PUBLISHED = [
    # instruction, arguments, text that lm-evaluation-harness accepts and ours refuses, text that it refuses and ours accepts
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n---", "* **one**\n* two\n---"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "See Section 1, Section 1.",
        None,
    ),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "2 * 3 * 4 * 5 * 6", None),
    ("detectable_format:json_format", {}, "NaN", None),
    ("detectable_format:title", {}, "<<a>b>>", None),
    ("detectable_format:constrained_response", {}, "My answer is yes. My answer is no.", None),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\n\nP.S.", None),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[] [ ]", None),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Say it.", None),
    ("change_case:english_capital", {}, "THE CAT", None),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "I'M", None),
    ("keywords:existence", {"keywords": ["a.b"]}, "a-b", None),
    ("keywords:frequency", {"keyword": "a|b", "frequency": 2, "relation": "at least"}, "a b", None),
    ("punctuation:no_comma", {}, "\u597d\uff0c\u597d", None),
    ("startend:quotation", {}, '""', None),
]


@pytest.mark.parametrize(("name", "arguments", "accepted", "refused"), PUBLISHED)
def test_the_published_behaviour_is_a_setting(
    name: str, arguments: dict[str, Any], accepted: str | None, refused: str | None
) -> None:
    for text, published in ((accepted, 1.0), (refused, 0.0)):
        if text is not None:
            sample = Sample("q", text, meta=row([name], [arguments]))
            assert Instructions(compat="ifeval")(sample).value == published
            assert Instructions()(sample).value != published


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [case[:3] for case in CASES if case[3] and case[0] != "detectable_format:number_bullet_lists"],
)
def test_what_follows_by_our_checks_follows_by_the_published(name: str, arguments: dict[str, Any], text: str) -> None:
    assert Instructions(compat="ifeval")(Sample("q", text, meta=row([name], [arguments]))).value == 1.0


def test_a_keyword_that_is_no_pattern_cannot_judge_by_the_published() -> None:
    sample = Sample("q", "a ( b", meta=row(["keywords:existence"], [{"keywords": ["("]}]))
    assert Instructions(compat="ifeval")(sample).value is None
    assert Instructions()(sample).value == 1.0


OPEN_INSTRUCT: list[tuple[dict[str, Any], str, str]] = [
    # ground_truth, text that follows, text that does not
    ({"func_name": "verify_keywords", "keyword_list": ["tree"]}, "A Tree.", "A bush."),
    ({"func_name": "verify_keyword_frequency", "word": "cat", "N": 2}, "Cat, cat; cats.", "cat"),
    ({"func_name": "validate_forbidden_words", "forbidden_words": ["cat"]}, "A dog.", "A catalogue."),
    ({"func_name": "verify_letter_frequency", "letter": "a", "N": 2}, "a A a", "a"),
    ({"func_name": "validate_response_language", "language": "de"}, GERMAN, ENGLISH),
    ({"func_name": "verify_paragraph_count", "N": 2}, "One.\n* * *\nTwo.", "One.\n***\nTwo."),
    ({"func_name": "validate_word_constraint", "N": 100, "quantifier": "around"}, HUNDRED_WORDS + " a b", "few words"),
    ({"func_name": "validate_word_constraint", "N": 3, "quantifier": "at most"}, "a b c", "a b c d"),
    ({"func_name": "verify_sentence_constraint", "N": 3, "quantifier": "around"}, "One. Two.", "One."),
    ({"func_name": "validate_paragraphs", "N": 2, "first_word": "Then", "i": 2}, "One.\n\nThen two.", "Then.\n\nTwo."),
    ({"func_name": "verify_postscript", "postscript_marker": "P.S."}, "Bye. P.S. Call.", "Bye. P.S."),
    ({"func_name": "validate_placeholders", "N": 1}, "Dear [name]", "Dear []"),
    ({"func_name": "verify_bullet_points", "N": 1}, "* one", "one"),
    ({"func_name": "validate_title"}, "<<A poem>>", "A poem"),
    ({"func_name": "validate_choice", "options": ["yes", "no"]}, "yes", "yes or no"),
    ({"func_name": "validate_highlighted_sections", "N": 1}, "*So*", "So"),
    ({"func_name": "validate_sections", "N": 1, "section_splitter": "Part"}, "Part 1\nText.", "Part\nText."),
    ({"func_name": "validate_json_format"}, "[1]", "[1"),
    ({"func_name": "validate_repeat_prompt", "original_prompt": "Say it."}, "Say it. Yes.", "Yes."),
    ({"func_name": "validate_two_responses"}, "a\n******\nb", "a\n******\na"),
    ({"func_name": "validate_uppercase"}, "ALL", "All"),
    ({"func_name": "validate_lowercase"}, "all", "All"),
    ({"func_name": "validate_frequency_capital_words", "N": 1, "quantifier": "at least"}, "So BIG", "So big"),
    ({"func_name": "validate_end", "end_phrase": "The end."}, "So. The end.", "The end. So."),
    ({"func_name": "validate_quotation"}, '"So."', "So."),
    ({"func_name": "validate_no_commas"}, "So it is", "So, it is"),
    ({"instruction_id": ["punctuation:no_comma"], "kwargs": [None]}, "So it is", "So, it is"),
]


@pytest.mark.parametrize(("truth", "right", "wrong"), OPEN_INSTRUCT)
def test_rows_of_open_instruct_are_read(truth: dict[str, Any], right: str, wrong: str) -> None:
    filled = {"N": None, "word": None, **truth} if "func_name" in truth else truth
    for written in (truth, json.dumps(filled), [truth], str([truth]), json.dumps([json.dumps(filled)])):
        assert Instructions()(Sample("q", right, meta={"ground_truth": written})).value == 1.0
        assert Instructions()(Sample("q", wrong, meta={"ground_truth": written})).value == 0.0
    assert Instructions()(Sample("q", right, json.dumps(truth))).value == 1.0


def test_every_function_of_open_instruct_has_texts() -> None:
    assert {truth.get("func_name") for truth, _, _ in OPEN_INSTRUCT} - {None} == set(FUNCTIONS)


@pytest.mark.parametrize(
    "names",
    [
        '["punctuation:no_comma"]',
        "['punctuation:no_comma']",
        "punctuation:no_comma",
        '"punctuation:no_comma"',
        [" punctuation:no_comma"],
    ],
)
def test_ids_may_be_text(names: Any) -> None:
    for kwargs in ("[{}]", "[null]", "[None]", [{}], ["{}"], None, {}):
        assert (
            Instructions()(Sample("q", "ok then", meta={"instruction_id_list": names, "kwargs": kwargs})).value == 1.0
        )
        assert (
            Instructions()(Sample("q", "ok, then", meta={"instruction_id_list": names, "kwargs": kwargs})).value == 0.0
        )


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
    ({"ground_truth": "{"}, "not JSON"),
    ({"ground_truth": '{"func_name": "validate_all"}'}, "unknown instructions: validate_all"),
    (
        {"ground_truth": '{"func_name": "validate_word_constraint", "N": 3, "quantifier": "about"}'},
        "unknown quantifier",
    ),
    ({"ground_truth": '{"func_name": "validate_word_constraint", "N": 3}'}, "quantifier"),
    (row(["words:start_verb"], [{}]), "unknown instructions: words:start_verb"),
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
    with pytest.raises(ConfigError, match="compat of the reward instructions"):
        Instructions(compat="lm-eval")


EVERYTHING = {name: arguments for name, arguments, _, _ in CASES} | {name: arguments for name, arguments, _ in IFBENCH}


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
