"""The parser of five tags, and each reward of VAC-GRPO on hand-made completions, gate and cap included."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import REFLECTED, Sample
from rlllm.parsing.tagged_reasoning import TaggedReasoning, parse_tagged, write_tagged
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.verifiers.tagged.reward import Consistency, CueProcess, ReflectionGain, Tagged, TaggedForm, f1

ROW = {"label": "lie", "relation": "clash", "cues_v": ["off", "bit"], "cues_a": ["warm"]}


def told(
    visual: str = "off bit", audio: str = "warm", relation: str = "clash", think: str = "-+", answer: str = "lie"
) -> str:
    return "".join(write_tagged(TaggedReasoning(visual, audio, relation, think, answer)))


def sample(completion: str, **columns: Any) -> Sample:
    return Sample("[V] gaze=off lips=bit [A] tone=warm", completion, "lie", {**ROW, **columns})


WELL = told()
UNPARSED = [
    "",
    "lie",
    WELL.replace("<think>-+</think>", ""),
    WELL + "<answer>lie</answer>",
    WELL.replace("</relation>", ""),
    "<audio>warm</audio><visual>off</visual><relation>clash</relation><think>-+</think><answer>lie</answer>",
    "<visual>off<audio>warm</visual></audio><relation>clash</relation><think>-+</think><answer>lie</answer>",
]


def test_the_five_tags_are_read_with_anything_between_and_around_them() -> None:
    text = "So:\n" + WELL.replace("><", ">\n and <") + " Done."
    assert parse_tagged(text) == TaggedReasoning("off bit", "warm", "clash", "-+", "lie")


@pytest.mark.parametrize("text", UNPARSED)
def test_a_tag_that_is_missing_repeated_unclosed_or_out_of_order_is_no_reading_and_pays_nothing(text: str) -> None:
    assert parse_tagged(text) is None
    rewards = [Tagged(), TaggedForm(), Consistency(), Consistency("structural"), CueProcess(), Consistency(gate=False)]
    assert [reward(sample(text)).value for reward in rewards] == [0.0] * 6
    assert ReflectionGain()(sample(text, **{REFLECTED: told(answer="truth")})).value == 0.0


def test_tags_may_have_other_names() -> None:
    short = "<v>off bit</v><a>warm</a><r>clash</r><t>-+</t><y>lie</y>"
    tags = ("v", "a", "r", "t", "y")
    assert [reward(tags=tags)(sample(short)).value for reward in (Tagged, TaggedForm, Consistency, CueProcess)] == [
        1.0
    ] * 4
    assert Tagged()(sample(short)).value == 0.0
    with pytest.raises(ConfigError, match="five different tags"):
        Consistency(tags=("v", "v", "r", "t", "y"))


@pytest.mark.parametrize(("answer", "value"), [("lie", 1.0), ("Lie", 1.0), ("truth", 0.0), ("", 0.0)])
def test_the_answer_is_right_or_wrong(answer: str, value: float) -> None:
    assert Tagged()(sample(told(answer=answer))).value == value
    assert TaggedForm()(sample(told(answer=answer))).value == 1.0


def test_nothing_is_judged_without_a_reference() -> None:
    unlabelled = Sample("p", WELL, None, ROW)
    assert [reward(unlabelled).value for reward in (Tagged(), Consistency(), CueProcess())] == [None] * 3


CONSISTENCY = [
    # variant, completion, gated, ungated
    ("labelled", told(), 1.0, 1.0),
    ("labelled", told(relation="agree"), 0.0, 0.0),
    ("labelled", told(answer="truth"), 0.0, 1.0),
    ("structural", told(), 1.0, 1.0),
    ("structural", told(visual="met", audio="few", relation="agree"), 1.0, 1.0),
    ("structural", told(visual="met", audio="few", relation="clash"), 0.0, 0.0),
    ("structural", told(visual="met knit", relation="clash"), 0.5, 0.5),
    ("structural", told(visual="low", audio="mid", relation="agree"), 0.5, 0.5),
    ("structural", told(relation="clash", answer="truth"), 0.0, 1.0),
]


@pytest.mark.parametrize(("variant", "completion", "gated", "ungated"), CONSISTENCY)
def test_the_relation_is_that_of_the_row_or_follows_from_the_cues_that_were_named(
    variant: Any, completion: str, gated: float, ungated: float
) -> None:
    assert Consistency(variant)(sample(completion)).value == gated
    assert Consistency(variant, gate=False)(sample(completion)).value == ungated


def test_a_row_without_relation_or_cues_cannot_be_judged_by_them() -> None:
    bare = Sample("p", WELL, "lie", {})
    assert (Consistency()(bare).value, CueProcess()(bare).value) == (None, None)
    assert Consistency("structural")(bare).value == 1.0


def test_signs_can_come_from_a_lexicon_of_ones_own() -> None:
    own = Consistency("structural", lexicon={"avert": -1, "rise": -1})
    assert own(sample(told(visual="avert", audio="rise", relation="agree"))).value == 1.0
    with pytest.raises(ConfigError, match="reads no lexicon"):
        Consistency(lexicon={"avert": -1})


PROCESS = [
    (told(), 1.0),
    (told(visual="bit, off"), 1.0),
    (told(visual="gaze=off; lips=bit"), 1.0),
    (told(visual="off bit -", audio="warm +"), 1.0),
    (told(visual="off"), 0.8),  # precision 1, recall 2/3
    (told(visual="off bit met", audio="warm few"), 0.75),  # precision 3/5, recall 1
    (told(visual="warm", audio="off bit"), 0.0),  # each in the other channel
    (told(visual="", audio=""), 0.0),
    (told(visual="off bit met lax knit", audio="warm few even thin"), 0.0),  # nine cues, eight at most
    (told(answer="truth"), 0.0),
]


@pytest.mark.parametrize(("completion", "value"), PROCESS)
def test_cues_are_paid_by_f1_up_to_the_cap_and_where_the_answer_is_right(completion: str, value: float) -> None:
    assert CueProcess()(sample(completion)).value == pytest.approx(value)


def test_cues_without_a_gate_are_paid_beside_a_wrong_answer() -> None:
    assert CueProcess(gate=False)(sample(told(answer="truth"))).value == 1.0
    assert CueProcess(cap=2, gate=False)(sample(WELL)).value == 0.0


def test_f1_of_nothing_and_nothing_is_1() -> None:
    assert (f1(set(), set()), f1({1}, set()), f1({1, 2}, {2, 3})) == (1.0, 0.0, 0.5)


REFLECTION = [("truth", "lie", 1.0), ("lie", "truth", 0.0), ("lie", "lie", 0.5), ("truth", "truth", 0.5)]


@pytest.mark.parametrize(("first", "second", "value"), REFLECTION)
def test_reflection_pays_for_wrong_to_right_and_not_for_right_to_wrong(first: str, second: str, value: float) -> None:
    assert ReflectionGain()(sample(told(answer=second), **{REFLECTED: told(answer=first)})).value == value


def test_a_first_answer_that_does_not_parse_was_wrong_and_without_one_nothing_is_judged() -> None:
    assert ReflectionGain()(sample(WELL, **{REFLECTED: "lie"})).value == 1.0
    assert ReflectionGain()(sample(WELL)).value is None


TOTALS = [
    (told(), 1 + 0.1 + 0.5 + 0.3),
    (told(relation="agree"), 1 + 0.1 + 0.3),
    (told(answer="truth"), 0.1),
    ("lie", 0.0),
]


@pytest.mark.parametrize(("completion", "total"), TOTALS)
def test_the_weighted_sum_is_the_one_of_the_specification(completion: str, total: float) -> None:
    specs = [("tagged", 1), ("tagged-form", 0.1), ("consistency", 0.5), ("cues", 0.3), ("reflection", 0.3)]
    rewards = build([RewardSpec(name=name, weight=weight) for name, weight in specs])
    assert rewards.score([sample(completion)]).totals == [pytest.approx(total)]
    assert rewards.group_filter == "tagged"
