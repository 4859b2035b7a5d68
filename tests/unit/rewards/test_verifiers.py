"""Each verifier against a literal table: what it is given, what it must answer."""

from __future__ import annotations

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.parsing.numbers import read_number
from rlllm.rewards.length import EosReward, Length
from rlllm.rewards.verifiers.exact import Exact
from rlllm.rewards.verifiers.format import Format
from rlllm.rewards.verifiers.numeric import Numeric
from rlllm.rewards.verifiers.regex import Regex


def sample(completion: str, answer: str | None = None, tokens: int | None = None) -> Sample:
    return Sample("question", completion, answer, tokens=tokens)


EXACT = [
    ('#### "Paris"', "Paris", 1.0),
    ("#### \u201cParis\u201d.", "Paris", 1.0),
    ("#### \u00abParis\u00bb", "Paris", 1.0),
    ("#### _Paris_", "Paris", 1.0),
    ("#### 'a'", "'a'", 1.0),
    ("#### a", "'a'", 0.0),
    ("#### 'a' and 'b'", "a' and 'b", 0.0),
    ("#### __init__", "init", 0.0),
    # completion, reference, value
    ("#### 7", "7", 1.0),
    ("3 + 4 = 7\n#### 7", "7", 1.0),
    ("#### 8", "7", 0.0),
    ("", "7", 0.0),
    ("   \n ", "7", 0.0),
    ("7", "7", 0.0),
    ("the answer is 7", "7", 0.0),
    ("####", "7", 0.0),
    ("#### 7", None, None),
    ("#### 7", "", None),
    ("#### 7", "  ", None),
    ("", None, None),
    ("#### 8\n#### 7", "7", 1.0),
    ("#### 7\n#### 8", "7", 0.0),
    ("\\boxed{7}", "7", 1.0),
    ("<answer>7</answer>", "7", 1.0),
    ("<answer>\n 7 \n</answer>", "7", 1.0),
    ("\\boxed{8} so #### 7", "7", 1.0),
    ("#### a  b", "a b", 1.0),
    ("####   a b  ", " a   b ", 1.0),
    ("#### a, b, c", "a, b, c", 1.0),
    ("#### a,b,c", "a, b, c", 0.0),
    ("#### [c, b, a]\n#### [a, b, c]", "[a, b, c]", 1.0),
    ("#### Paris", "paris", 0.0),
    ("#### 7.0", "7", 0.0),
    ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}", 1.0),
    ("\\boxed{\\frac{1}{2}}", "1/2", 0.0),
    ("#### 7", "He has 3 and 4.\n#### 7", 1.0),
    ("#### \u00fc", "\u00fc", 1.0),
    # what surrounds an answer, and how its characters are encoded
    ("#### u\u0308", "\u00fc", 1.0),
    ("#### Paris.", "Paris", 1.0),
    ("#### Paris", "Paris.", 1.0),
    ("#### **Paris**", "Paris", 1.0),
    ("**#### Paris**", "Paris", 0.0),
    ("<answer>`Paris`</answer>", "Paris", 1.0),
    ("<answer>\n```\nParis\n```\n</answer>", "Paris", 1.0),
    ("<ANSWER>Paris</ANSWER>", "Paris", 1.0),
    ("\\boxed{\\text{Paris}}", "Paris", 1.0),
    ("\\boxed{\\textbf{Paris}}", "\\text{Paris}", 1.0),
    ("\\fbox{Paris}", "Paris", 1.0),
    ("\\[ \\boxed{\\mathrm{Paris}.} \\]", "$\\text{Paris}$", 1.0),
    ("#### $Paris$", "Paris", 1.0),
    ("#### Answer: Paris", "Paris", 1.0),
    ("#### \uff14\uff12", "42", 1.0),
    ("#### New\u00a0York", "New York", 1.0),
    ("#### it\u2019s", "it's", 1.0),
    ("#### \u22127", "-7", 1.0),
    ("#### \u5df4\u9ece\u3002", "\u5df4\u9ece", 1.0),
    ("#### True", "true", 1.0),
    ("#### False", "true", 0.0),
    ("#### __init__", "init", 0.0),
    ("#### 5!", "5", 0.0),
    ("#### x\u00b2", "x2", 0.0),
    ("#### 1, 2, ...", "1, 2", 0.0),
    ("#### -7", "7", 0.0),
    # a list of references: any of them
    ("#### b", '{"target": ["a", "b"]}', 1.0),
    ("#### c", '{"target": ["a", "b"]}', 0.0),
    ("#### a", '{"target": "a"}', 1.0),
    ('#### ["a", "b"]', '["a", "b"]', 1.0),
    ("#### a", '["a", "b"]', 0.0),
]


@pytest.mark.parametrize(("completion", "reference", "value"), EXACT)
def test_exact_compares_the_marked_answer_as_text(completion: str, reference: str | None, value: float | None) -> None:
    assert Exact()(sample(completion, reference)).value == value


def test_exact_shows_what_it_read_and_why_it_could_not() -> None:
    assert Exact()(sample("#### 8", "7")) == Score(0.0, parsed="8")
    assert Exact()(sample("8", "7")) == Score(0.0, note="no marked final answer")
    assert Exact()(sample("#### 8")) == Score(None, note="the sample has no reference answer")


NUMERIC = [
    ("#### 7", "7", 1.0),
    ("#### 7.0", "7", 1.0),
    ("#### 07", "7", 1.0),
    ("#### 8", "7", 0.0),
    ("", "7", 0.0),
    ("7", "7", 0.0),
    ("#### seven", "7", 1.0),
    ("#### 1,234", "1234", 1.0),
    ("#### 1234", "1,234", 1.0),
    ("#### 1,23", "123", 0.0),
    ("#### $5", "5", 1.0),
    ("#### \\$5.00", "5", 1.0),
    ("#### -$5", "-5", 1.0),
    ("#### -5", "5", 0.0),
    ("#### \u22125", "-5", 1.0),
    ("#### 50%", "50", 1.0),
    ("#### 50", "50%", 1.0),
    ("#### 0.5", "50%", 1.0),
    ("#### 50\\%", "0.5", 1.0),
    ("#### 50%", "50%", 1.0),
    ("#### 5000%", "50%", 0.0),
    ("#### 3/4", "0.75", 1.0),
    ("\\boxed{\\frac{3}{4}}", "0.75", 1.0),
    ("\\boxed{-\\dfrac{3}{4}}", "-3/4", 1.0),
    ("#### 1/0", "1", 0.0),
    ("#### 1e3", "1000", 1.0),
    ("#### 1E-3", "0.001", 1.0),
    ("#### 1e999", "1", 0.0),
    ("#### nan", "1", 0.0),
    ("#### x = 5", "5", 1.0),
    ("#### 2 + 3 = 5", "5", 1.0),
    ("#### 18 dollars", "18", 1.0),
    ("#### 5kg", "5", 1.0),
    ("\\boxed{5 \\text{ cm}}", "5", 1.0),
    ("\\boxed{12\\,345}", "12345", 1.0),
    ("#### 3 or 4", "3", 0.0),
    ("#### 3, 4", "3", 0.0),
    ("#### 2**3", "23", 0.0),
    ("#### 10^3", "10", 0.0),
    ("#### 5.", "5", 1.0),
    ("#### **5**", "5", 1.0),
    ("#### 7\n#### 8", "8", 1.0),
    ("#### 0.333333", "1/3", 0.0),
    ("#### 1234567", "1234568", 0.0),
    ("#### 5", "three plus two", None),
    ("#### 5", None, None),
    ("#### 5", "3 + 2\n#### 5", 1.0),
    ("#### 5", '{"target": ["4", "5"]}', 1.0),
    ("#### 6", '{"target": ["4", "5"]}', 0.0),
    ("#### (5)", "5", 1.0),
    ("#### 5", "(5)", 1.0),
    ("#### (6)", "5", 0.0),
    ("#### (1,234)", "1234", 0.0),
    ("#### (5) 6", "5", 0.0),
]


@pytest.mark.parametrize(("completion", "reference", "value"), NUMERIC)
def test_numeric_compares_the_marked_answer_as_a_number(completion: str, reference: str | None, value: object) -> None:
    assert Numeric()(sample(completion, reference)).value == value


def test_numeric_tolerances_are_relative_or_absolute() -> None:
    assert Numeric(relative=0.05)(sample("#### 103", "100")).value == 1.0
    assert Numeric(relative=0.05)(sample("#### 106", "100")).value == 0.0
    assert Numeric(absolute=0.5)(sample("#### 0.4", "0")).value == 1.0
    assert Numeric(absolute=0.5)(sample("#### 0.6", "0")).value == 0.0


def test_numeric_refuses_a_negative_or_undefined_tolerance() -> None:
    with pytest.raises(ConfigError, match="cannot be negative or infinite"):
        Numeric(relative=-1.0)
    with pytest.raises(ConfigError, match="cannot be negative or infinite"):
        Numeric(absolute=float("nan"))


def test_reading_a_number_takes_no_time_on_long_text() -> None:
    assert read_number("5 " + "a " * 100_000) is None


REGEX = [
    # pattern, full, completion, value
    ("b", False, "abc", 1.0),
    ("b", True, "abc", 0.0),
    ("abc", True, "abc", 1.0),
    ("a.c", True, "a\nc", 0.0),
    ("(?s)a.c", True, "a\nc", 1.0),
    ("^b", False, "a\nb", 0.0),
    ("(?m)^b", False, "a\nb", 1.0),
    ("x", False, "", 0.0),
    ("", False, "", 1.0),
    ("", True, "a", 0.0),
    (r"\d+", False, "answer 42", 1.0),
    (r"\d+", True, "42", 1.0),
    (r"\d+", True, "42 ", 0.0),
    (r"(?i)yes", False, "YES", 1.0),
    (r"<think>.+</think>", False, "<think>so</think> 7", 1.0),
    (r"\\boxed\{", False, "\\boxed{7}", 1.0),
]


@pytest.mark.parametrize(("pattern", "full", "completion", "value"), REGEX)
def test_regex_searches_or_matches_in_full(pattern: str, full: bool, completion: str, value: float) -> None:
    assert Regex(pattern, full)(sample(completion)).value == value


def test_a_broken_regular_expression_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="not a regular expression"):
        Regex("(")


FORMAT = [
    # style, completion, value
    ("any", "#### 7", 1.0),
    ("any", "3 + 4 = 7\n#### 7", 1.0),
    ("any", "#### 7\n", 1.0),
    ("any", "", 0.0),
    ("any", "7", 0.0),
    ("any", "####", 0.0),
    ("any", "#### 7\nThat is all.", 0.0),
    ("any", "#### 7\n#### 7", 0.0),
    ("any", "#### 7\n\\boxed{7}", 0.0),
    ("any", "#### a, b\n#### a, b, c", 0.0),
    ("any", "\\boxed{7}", 1.0),
    ("any", "so $\\boxed{7}$.", 1.0),
    ("any", "\\boxed{7} is it", 0.0),
    ("any", "\\boxed{\\frac{1}{2}}", 1.0),
    ("any", "\\boxed{7", 0.0),
    ("any", "<answer>7</answer>", 1.0),
    ("any", "<answer>7</answer>\n  ", 1.0),
    ("any", "<answer>7", 0.0),
    ("hash", "#### 7", 1.0),
    ("hash", "\\boxed{7}", 0.0),
    ("hash", "<answer>7</answer>", 0.0),
    ("boxed", "\\boxed{7}", 1.0),
    ("boxed", "#### \\boxed{7}", 1.0),
    ("boxed", "#### 7", 0.0),
    ("tag", "<answer>7</answer>", 1.0),
    ("tag", "#### 7", 0.0),
    ("hash", "####", 0.0),
    ("any", "So \\[ \\boxed{7} \\]", 1.0),
    ("any", "So \\[\n\\boxed{7}.\n\\]\n", 1.0),
    ("any", "So \\(\\boxed{7}\\).", 1.0),
    ("any", "So $$\\boxed{7}$$", 1.0),
    ("any", "\\begin{equation*}\\boxed{7}\\end{equation*}", 1.0),
    ("any", "**\\boxed{7}**", 1.0),
    ("any", "**The answer is \\boxed{7}.**", 1.0),
    ("any", "`\\boxed{7}`", 1.0),
    ("any", "\u6240\u4ee5 \\boxed{7}\u3002", 1.0),
    ("any", "(\\boxed{7}\uff09", 1.0),
    ("any", "\\fbox{7}", 1.0),
    ("any", "so $\\boxed 7$", 1.0),
    ("any", "so $\\boxed\\frac12$.", 1.0),
    ("any", "\\framebox{7}", 1.0),
    ("any", "<ANSWER>7</ANSWER>", 1.0),
    ("any", "write it in \\boxed to end. #### 7", 1.0),
    ("any", "\\[ \\boxed{7} \\] and so on", 0.0),
    ("any", "\\[ \\boxed{7} = 7 \\]", 0.0),
    ("any", "\\boxed{7} \\]\n\\boxed{8}", 0.0),
    ("any", "\\boxed{7}!", 0.0),
    ("any", "\\boxed{7}?", 0.0),
    ("boxed", "\\fbox{7}", 1.0),
    ("boxed", "\\boxed 7", 1.0),
    ("tag", "<Answer>7</Answer>", 1.0),
    ("tag", "\\fbox{7}", 0.0),
]


@pytest.mark.parametrize(("style", "completion", "value"), FORMAT)
def test_format_wants_one_marked_answer_at_the_end(style: str, completion: str, value: float) -> None:
    assert Format(style)(sample(completion)).value == value


def test_format_names_the_nearest_style() -> None:
    with pytest.raises(ConfigError, match="did you mean boxed"):
        Format("boxd")


LENGTH = [
    # budget, buffer, tokens, value
    (40, 20, 0, 0.0),
    (40, 20, 1, 0.0),
    (40, 20, 40, 0.0),
    (40, 20, 41, -0.05),
    (40, 20, 50, -0.5),
    (40, 20, 59, -0.95),
    (40, 20, 60, -1.0),
    (40, 20, 61, -1.0),
    (40, 20, 10_000, -1.0),
    (40, None, 45, -0.5),
    (40, None, 50, -1.0),
    (40, 0, 40, 0.0),
    (40, 0, 41, -1.0),
    (0, 10, 5, -0.5),
    (0, None, 1, -1.0),
    (0, None, 0, 0.0),
]


@pytest.mark.parametrize(("budget", "buffer", "tokens", "value"), LENGTH)
def test_length_falls_linearly_beyond_the_budget(budget: int, buffer: int | None, tokens: int, value: float) -> None:
    assert Length(budget, buffer)(sample("text", tokens=tokens)).value == pytest.approx(value)


def test_length_counts_characters_where_tokens_are_unknown() -> None:
    assert Length(4, 4)(sample("abcdef")) == Score(-0.5, parsed="6 characters")
    assert Length(4, 4)(sample("abcdef", tokens=2)) == Score(0.0, parsed="2 tokens")


@pytest.mark.parametrize(("truncated", "value"), [(False, 0.0), (True, -1.0)])
def test_a_completion_that_hit_the_length_limit_costs_one(truncated: bool, value: float) -> None:
    assert EosReward()(Sample("question", "text", truncated=truncated)) == Score(value)


def test_length_refuses_a_negative_budget() -> None:
    with pytest.raises(ConfigError, match="cannot be negative"):
        Length(-1)
