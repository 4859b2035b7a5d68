"""Pictures of drawn shapes: what is asked can be read from the pixels, and from nothing else."""

from __future__ import annotations

import zlib
from collections import Counter

import pytest

from rlllm.core.errors import DataError
from rlllm.core.images import image_bytes, open_image
from rlllm.core.records import (
    Conversation,
    LabelledCompletion,
    PreferencePair,
    PromptTask,
    Record,
    StepwiseSolution,
    images_of,
    message_text,
    prompt_key,
)
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.data.procedural.shapes import COLOURS, KINDS, SIZE, Shape, picture
from rlllm.parsing.answers import extract_answer
from rlllm.rewards.verifiers.exact import Exact

LEVELS = (1, 2, 3, 4)


def tasks(level: int, rows: int = 200) -> list[PromptTask]:
    return load(DataConfig(name="shapes", level=level, rows=rows, holdout=0), PromptTask).train


def question(record: Record) -> str:
    return message_text(record.prompt[0]).removeprefix("[image]\n")  # type: ignore[arg-type]


def areas(record: Record) -> Counter[str]:
    """Pixels of each colour in the picture of a record."""
    names = {value: name for name, value in COLOURS.items()}
    (reference,) = images_of(record.prompt)
    pixels = open_image(reference).get_flattened_data()
    return Counter(names[pixel] for pixel in pixels if pixel != (255, 255, 255))


def test_the_largest_colour_of_level_1_is_the_answer_and_fills_much_of_the_picture() -> None:
    for task in tasks(1):
        assert question(task) == "What colour is the shape?"
        ((colour, size),) = areas(task).items()
        assert colour == task.answer
        assert size >= 0.15 * SIZE * SIZE


@pytest.mark.parametrize("level", LEVELS)
def test_answers_agree_with_the_scene_that_the_pixels_show(level: int) -> None:
    for task in tasks(level):
        scene = [tuple(name.split()) for name in task.meta["scene"].split(", ")]
        assert set(areas(task)) == {colour for colour, _ in scene}
        words = question(task).rstrip("?").split()
        if words[0] == "How":
            name = words[2].removesuffix("s") if len(words) == 3 else words[2]
            assert task.answer == str(sum(name in pair for pair in scene))
        elif words[-2] in ("left", "right"):
            assert task.answer == scene[words[-2] == "right"][0]
        elif words[1] == "colour":
            assert [task.answer] == [colour for colour, kind in scene if words[-1] in (kind, "shape")]
        elif words[1] == "shape":
            assert [task.answer] == [kind for colour, kind in scene if colour == words[-1]]
        else:
            assert task.answer in ("left", "right", "above", "below")


@pytest.mark.parametrize(("level", "named"), [(2, "colour"), (3, "colour"), (4, "kind")])
def test_left_and_above_are_where_the_pixels_are(level: int, named: str) -> None:
    seen = Counter()
    for task in tasks(level, 1000):
        words = [word for word in question(task).rstrip("?").split() if word not in ("the", "of")]
        scene = [name.split() for name in task.meta["scene"].split(", ")]
        if words[0] != "Is":
            continue
        assert (words[1] in KINDS, words[-1] in KINDS) == (named == "kind",) * 2
        colours = [colour for name in (words[1], words[-1]) for colour, kind in scene if name in (colour, kind)]
        if len({colour for colour, _ in scene}) < len(scene):
            continue
        places = [_middle(task, colour) for colour in colours]
        axis = 0 if task.answer in ("left", "right") else 1
        assert (places[0][axis] < places[1][axis]) == (task.answer in ("left", "above"))
        seen[task.answer] += 1
    answers = ("left", "right") if level == 2 else ("left", "right", "above", "below")
    assert min(seen[answer] for answer in answers) > 3


def _middle(task: PromptTask, colour: str) -> tuple[float, float]:
    image = open_image(images_of(task.prompt)[0])
    places = [(x, y) for x in range(SIZE) for y in range(SIZE) if image.getpixel((x, y)) == COLOURS[colour]]
    return sum(x for x, _ in places) / len(places), sum(y for _, y in places) / len(places)


@pytest.mark.parametrize("level", LEVELS)
def test_no_question_has_an_answer_that_is_nearly_always_right(level: int) -> None:
    by_question: dict[str, Counter[str]] = {}
    for task in tasks(level, 1000):
        by_question.setdefault(question(task), Counter())[str(task.answer)] += 1
    for asked, answers in by_question.items():
        if answers.total() >= 50:
            assert max(answers.values()) <= 0.65 * answers.total(), (asked, answers)


@pytest.mark.parametrize("kind", [PromptTask, Conversation, PreferencePair, LabelledCompletion, StepwiseSolution])
def test_every_record_type_shows_the_picture(kind: type[Record]) -> None:
    loaded = load(DataConfig(name="shapes:1-4", rows=40, holdout=20), kind)
    assert (len(loaded.train), loaded.rewards) == (40, ("exact",))
    assert {len(images_of(record.prompt)) for record in [*loaded.train, *loaded.holdout]} == {1}
    keys = {prompt_key(record.prompt) for record in loaded.train}
    assert not keys & {prompt_key(record.prompt) for record in loaded.holdout}
    assert loaded.hash == load(DataConfig(name="shapes:1-4", rows=40, holdout=20), kind).hash


def test_clean_solutions_are_right_by_the_default_reward_and_short() -> None:
    data = DataConfig(name="shapes:1-4", rows=80, holdout=0, params={"clean": True})
    for record in load(data, Conversation).train:
        task = PromptTask(record.prompt, record.meta["answer"], record.meta)
        assert extract_answer(record.completion) == task.answer
        assert len(record.completion) < 130
    exact = Exact()
    assert all(exact(_answered(task)).value == 1 for task in tasks(3, 40))


def _answered(task: PromptTask):  # type: ignore[no-untyped-def]
    from rlllm.core.records import Sample

    return Sample(task.prompt, task.meta["solution"], task.answer, task.meta)


def test_verdicts_in_text_alone_are_refused() -> None:
    with pytest.raises(DataError, match="this prompt shows images, which the judge would not see"):
        load(DataConfig(name="verdicts:shapes", rows=4, holdout=0), Conversation)
    dialogue = load(DataConfig(name="dialogues:shapes", rows=20, holdout=0), Conversation).train
    assert {len(images_of(record.prompt)) for record in dialogue} == {1}


def test_the_bytes_of_a_picture_are_those_of_a_palette_without_compression() -> None:
    uri = picture([Shape("circle", "red", 0, 0, 16, 16, 10)])
    content = image_bytes(uri)
    start = content.index(b"IDAT") + 4
    lines = zlib.decompress(content[start : start + int.from_bytes(content[start - 8 : start - 4], "big")])
    assert uri.startswith("data:image/png;base64,")
    assert (lines in content, len(content)) == (True, 645)
    assert lines[16 * 17 : 17 * 17] == bytes.fromhex("00" + "00" * 3 + "01" + "11" * 9 + "00" * 3)
    assert areas(PromptTask([{"role": "user", "content": [{"type": "image", "image": uri}]}])) == {"red": 305}
