"""Planted evaluation prompts are found, clean rows are left alone; the shares are those that the guide states."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest

from rlllm.core.records import PromptTask, prompt_text
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.data.prepare.contamination import Contamination, ContaminationReport, Item, RowText
from rlllm.data.prepare.settings import ContaminationRules

NOUNS = re.findall(
    r"\w+",
    """farmer teacher baker sailor painter doctor student gardener driver singer writer builder apple orange basket bottle
    pencil ticket ribbon candle marble cookie lantern blanket wagon garden market library harbour village station bridge
    forest valley kitchen museum theatre orchard meadow island castle river mountain school office""",
)
VERBS = re.findall(
    r"\w+", "buys sells carries collects paints repairs borrows stacks delivers plants washes wraps folds packs finds"
)
ADJECTIVES = re.findall(
    r"\w+", "small tall old young green heavy quiet clever broken wooden shiny narrow empty gentle famous rusty"
)
LINKS = [
    "and then",
    "but later",
    "while",
    "after which",
    "before",
    "so that",
    "because",
    "until",
    "even though",
    "as soon as",
]
NUMBER_WORDS = re.findall(r"\w+", "zero one two three four five six seven eight nine ten eleven twelve")


def clause(draw: random.Random) -> str:
    """A subject, a verb, a number and a place, in one of several orders."""
    who, what, where = draw.choice(NOUNS), draw.choice(NOUNS), draw.choice(NOUNS)
    number = draw.randint(2, 99)
    return draw.choice(
        [
            f"the {draw.choice(ADJECTIVES)} {who} {draw.choice(VERBS)} {number} {what}s near the {where}",
            f"at the {where} a {who} {draw.choice(VERBS)} {number} {draw.choice(ADJECTIVES)} {what}s",
            f"every {what} costs {number} coins in the {draw.choice(ADJECTIVES)} {where}",
            f"{number} of the {what}s go to the {who} who {draw.choice(VERBS)} them",
        ]
    )


def problem(draw: random.Random) -> str:
    """A word problem of two to four clauses; no two share more than a few words in a row."""
    clauses = [clause(draw) for _ in range(draw.randint(2, 4))]
    text = clauses[0]
    for other in clauses[1:]:
        text += draw.choice([f", {draw.choice(LINKS)} {other}", f". {other.capitalize()}"])
    return f"{text.capitalize()}. How many {draw.choice(NOUNS)}s are left for the {draw.choice(NOUNS)}?"


def other_case(text: str, draw: random.Random) -> str:
    return re.sub(r"[.,]", lambda match: draw.choice(["", " ;", "!", " --"]), text).upper().replace("?", "")


def other_numbers(text: str, draw: random.Random) -> str:
    return re.sub(r"\d+", lambda match: str(draw.randint(2, 999)), text)


def spelled_numbers(text: str, draw: random.Random) -> str:
    return re.sub(r"\d+", lambda match: draw.choice(NUMBER_WORDS), text)


def paraphrase(text: str, draw: random.Random) -> str:
    """About one word in ten replaced or left out."""
    words = []
    for word in text.split():
        if word[0].isdigit() or draw.random() > 0.1:
            words.append(word)
        elif draw.random() < 0.7:
            words.append(draw.choice(ADJECTIVES))
    return " ".join(words)


def wrapped(text: str, draw: random.Random) -> str:
    return f"Here is a riddle for you. {text} Think step by step, then answer."


def search(items: list[str], rows: list[str], **rules: object) -> ContaminationReport:
    found = Contamination(
        [Item("exam", number, text) for number, text in enumerate(items, 1)], ContaminationRules(**rules)
    )
    for start in range(0, len(rows), 700):
        found.add([RowText(text, text + "\n\n42") for text in rows[start : start + 700]])
    return found.report()


@pytest.mark.parametrize(
    ("plant", "rules", "recall"),
    [
        (lambda text, draw: text, {"exact"}, 1.0),
        (other_case, {"exact"}, 1.0),
        (wrapped, {"n-gram"}, 1.0),
        (other_numbers, {"numbers"}, 0.99),
        (spelled_numbers, {"numbers"}, 0.99),
        (paraphrase, {"exact", "n-gram", "near"}, 0.80),
    ],
    ids=[
        "exact",
        "case and punctuation",
        "inside of more text",
        "other numbers",
        "numbers as words",
        "one word in ten",
    ],
)
def test_planted_prompts_are_found_by_the_rule_for_them(
    plant: Callable[[str, random.Random], str], rules: set[str], recall: float
) -> None:
    draw = random.Random(1)
    items = [problem(draw) for _ in range(300)]
    clean = [problem(draw) for _ in range(3000)]
    rows = clean + [plant(text, draw) for text in items]
    report = search(items, rows)
    found = {hit.row: hit for hit in report.hits()}
    right = [row for row, hit in found.items() if row >= len(clean) and hit.item.number - 1 == row - len(clean)]
    assert len(right) / len(items) >= recall, len(right) / len(items)
    assert {found[row].rule for row in right} <= rules
    assert sum(row < len(clean) for row in found) / len(clean) <= 0.001


def test_clean_text_of_the_same_kind_raises_an_alarm_in_at_most_one_row_of_a_thousand() -> None:
    draw = random.Random(2)
    items, rows = [problem(draw) for _ in range(500)], [problem(draw) for _ in range(10_000)]
    assert len(search(items, rows).rows) <= 10


@pytest.mark.parametrize("name", ["arithmetic", "countdown"])
def test_procedural_rows_are_flagged_only_where_the_prompt_is_the_same(name: str) -> None:
    loaded = load(DataConfig(name=name, rows=1500), PromptTask)
    held = [prompt_text(record.prompt) for record in loaded.holdout]
    report = search(held, [prompt_text(record.prompt) for record in loaded.train])
    assert len(report.rows) <= 3, report.by_rule()


def test_prompts_put_together_of_few_parts_are_flagged_only_where_a_row_holds_most_of_one() -> None:
    loaded = load(DataConfig(name="instructions", rows=1500), PromptTask)
    held = [prompt_text(record.prompt) for record in loaded.holdout]
    report = search(held, [prompt_text(record.prompt) for record in loaded.train])
    assert report.by_rule().keys() <= {"exact", "n-gram"}
    assert len(report.rows) / 1500 < 0.06


def test_templates_that_differ_by_numbers_only_are_not_contamination_but_a_copy_is() -> None:
    template = "A train leaves the old station at {} in the morning with {} passengers and arrives {} hours later"
    draw = random.Random(3)

    def fill(count: int) -> list[str]:
        return [template.format(*(draw.randint(1, 9999) for _ in range(3))) for _ in range(count)]

    rows, exam = fill(500), fill(50)
    assert len(search(exam, rows).rows) == 0
    assert search(exam, [*rows, exam[7]]).rows.tolist() == [500]
    assert search(exam[:3], rows).by_rule() == {}


def test_a_shared_instruction_is_boilerplate() -> None:
    draw = random.Random(4)
    instruction = "Solve the following problem step by step and put your final answer in a box at the very end: "
    items, rows = ([instruction + problem(draw) for _ in range(count)] for count in (40, 400))
    assert len(search(items, rows).rows) == 0


def test_short_prompts_count_only_as_a_whole() -> None:
    report = search(
        ["What is 3 + 4?", "Who wrote Faust?"], ["what is 3 + 4", "What is 3 - 4?", "Tell me: who wrote Faust?"]
    )
    assert [(hit.row, hit.item.number, hit.rule) for hit in report.hits()] == [(0, 1, "exact")]


def test_the_report_counts_rows_by_rule_and_prompts_by_set() -> None:
    draw = random.Random(5)
    items = [problem(draw) for _ in range(4)]
    report = search(items, [items[0], wrapped(items[1], draw), problem(draw), items[0].upper()])
    assert report.by_rule() == {"exact": 2, "n-gram": 1}
    assert report.by_source() == {"exam": (2, 4)}
    assert report.rows.tolist() == [0, 1, 3]


def test_nothing_in_and_nothing_to_look_for() -> None:
    assert list(search([], ["a b c"]).hits()) == []
    assert list(search(["a b c"], []).hits()) == []
    assert search(["", "?!"], ["", "?!", "??"]).rows.tolist() == [0, 1]
    chinese = "小明有五个苹果。他给了小红三个。请问他还剩下几个苹果"
    assert search([chinese], [chinese.replace("。", " ")]).by_rule() == {"exact": 1}
