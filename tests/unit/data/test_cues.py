"""The data set `cues`: the rule of the answer, the columns, the two splits, and what its writer gets wrong."""

from __future__ import annotations

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.images import open_image
from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask, StepwiseSolution, images_of
from rlllm.data.procedural.cues import FACE, LEXICON, VOICE, cues, relation_of, sign_of
from rlllm.data.procedural.shapes import COLOURS
from rlllm.data.request import DataRequest
from rlllm.parsing.tagged_reasoning import parse_tagged

SIGNS = [
    (["off"], -1),
    (["met", "lax", "bit"], 1),
    (["met", "knit"], 0),
    (["low"], 0),
    (["unheard"], 0),
    ([], 0),
]
RELATIONS = [(1, 1, "agree"), (-1, -1, "agree"), (1, -1, "clash"), (-1, 1, "clash"), (0, 1, None), (-1, 0, None)]


def rows(kind: type = PromptTask, *, split: str = "train", count: int = 400, seed: int = 0, **params: object) -> list:
    return cues(DataRequest(kind, split, count, seed, None, params={"levels": "1-3", **params}))


def shown(prompt: str) -> tuple[dict[str, str], dict[str, str]]:
    """The features of each channel, as a prompt shows them."""
    face, voice = prompt.removeprefix("[V] ").split(" [A] ")
    return tuple(dict(pair.split("=") for pair in part.split()) for part in (face, voice))  # type: ignore[return-value]


@pytest.mark.parametrize(("words", "sign"), SIGNS)
def test_a_channels_sign_is_that_of_the_sum_of_its_words(words: list[str], sign: int) -> None:
    assert sign_of(words) == sign


@pytest.mark.parametrize(("face", "voice", "relation"), RELATIONS)
def test_channels_clash_where_their_signs_differ(face: int, voice: int, relation: str | None) -> None:
    assert relation_of(face, voice) == relation


def test_no_word_is_of_two_features() -> None:
    assert len(LEXICON) == sum(len(words) for channel in (FACE, VOICE) for words in channel.values())


def test_the_answer_is_lie_exactly_where_the_signs_of_the_prompts_channels_differ() -> None:
    for row in rows():
        face, voice = (sum(LEXICON[word] for word in channel.values()) for channel in shown(row.prompt))
        assert face
        assert voice
        clash = (face > 0) != (voice > 0)
        assert (row.answer, row.meta["label"]) == (("lie",) * 2 if clash else ("truth",) * 2)
        assert row.meta["relation"] == ("clash" if clash else "agree")


def test_the_columns_of_cues_are_the_words_that_say_anything_and_the_solution_names_them() -> None:
    for row in rows(count=60):
        face, voice = shown(row.prompt)
        assert row.meta["cues_v"] == [word for word in face.values() if LEXICON[word]]
        assert row.meta["cues_a"] == [word for word in voice.values() if LEXICON[word]]
        solution = parse_tagged(row.meta["solution"])
        assert solution is not None
        marks = ["+" if sign_of(row.meta[column]) > 0 else "-" for column in ("cues_v", "cues_a")]
        assert solution.visual.split() == [*row.meta["cues_v"], marks[0]]
        assert solution.audio.split() == [*row.meta["cues_a"], marks[1]]
        assert solution.think == "".join(marks)
        assert (solution.relation, solution.answer) == (row.meta["relation"], row.answer)


def test_prompts_stay_below_80_and_solutions_of_short_tags_below_110_bytes() -> None:
    found = rows(tags=("v", "a", "r", "t", "y"), count=900)
    assert max(len(row.prompt) for row in found) < 80
    assert max(len(row.meta["solution"]) for row in found) < 110


def test_no_prompt_is_in_both_splits_and_the_same_request_gives_the_same_rows() -> None:
    train = {row.prompt for seed in (0, 1) for row in rows(seed=seed)}
    held = {row.prompt for row in rows(split="holdout")}
    assert not train & held
    assert rows(seed=3) == rows(seed=3) != rows(seed=4)


def test_a_writer_without_noise_is_right_and_one_that_always_errs_is_always_wrong() -> None:
    right = rows(Conversation, clean=True, count=100)
    wrong = rows(Conversation, error_rate=1.0, tricky_error_rate=1.0, malformed_rate=0.0, count=300)
    assert all(parse_tagged(row.completion).answer == row.meta["answer"] for row in right)  # type: ignore[union-attr]
    assert all(parse_tagged(row.completion).answer != row.meta["answer"] for row in wrong)  # type: ignore[union-attr]
    told = [parse_tagged(row.completion) for row in wrong]
    assert 0 < sum((found.relation == "clash") != (found.answer == "lie") for found in told if found) < len(told)


def test_every_type_of_record_is_made_of_it() -> None:
    pairs = rows(PreferencePair, count=20)
    assert all(pair.meta["gold_chosen"] != pair.meta["gold_rejected"] for pair in pairs)
    assert len(rows(LabelledCompletion, count=20)) == 20
    steps = rows(StepwiseSolution, count=20, wrong_share=1.0)
    assert all(len(row.steps) == 5 and not all(row.labels) for row in steps)


@pytest.mark.parametrize(
    ("share", "least", "most"), [(0.0, 0.0, 0.0), (0.5, 0.4, 0.6), (1.0, 1.0, 1.0), (None, 0.1, 0.3)]
)
def test_the_share_of_problems_whose_first_cue_misleads_can_be_set(
    share: float | None, least: float, most: float
) -> None:
    found = rows(levels="3", count=300, misleading=share)
    misled = [
        any(LEXICON[words[0]] != sign_of(words) for words in (row.meta["cues_v"], row.meta["cues_a"])) for row in found
    ]
    assert least <= sum(misled) / len(misled) <= most


def test_two_pictures_show_what_the_words_say() -> None:
    words, drawn = rows(count=60), rows(count=60, channels="images")
    colours = {1: COLOURS["green"], 0: COLOURS["yellow"], -1: COLOURS["red"]}
    for row, same in zip(drawn, words, strict=True):
        assert (row.meta["scene"], row.answer) == (same.prompt, same.answer)
        for picture, features, told in zip(images_of(row.prompt), (FACE, VOICE), shown(same.prompt), strict=True):
            image = open_image(picture)
            for place, (feature, signs) in enumerate(features.items()):
                pixel = image.getpixel((place % 2 * 16 + 8, place // 2 * 16 + 8))
                assert pixel == (colours[signs[told[feature]]] if feature in told else (255, 255, 255))


def test_tags_are_five_different_words() -> None:
    with pytest.raises(ConfigError, match="five different tags"):
        rows(tags=("v", "a", "r"))
