"""A process reward model's scores: of the right tokens, whatever stands around them, and never of another kind of model."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, ModelError
from rlllm.core.records import Sample
from rlllm.policies.loading import load_classifier, load_step_classifier, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.models.process_reward_model import ProcessModel, encode_steps, first_below, split_steps
from rlllm.rewards.models.reward_model import RewardModel

PROMPT = "What is 17 + 25?"
STEPS = ["7+5=12", "1+2+1=4", "#### 42"]
SAMPLES = [
    Sample(PROMPT, "\n".join(STEPS)),
    Sample(PROMPT, "#### 42"),
    Sample("2 + 3 = ?", "2+3=5\n\n#### 5\n"),
    Sample("A much longer question, of which nobody knows what it means?", "no"),
]


@pytest.fixture(scope="module")
def folder(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A step classifier with a random, strong head."""
    return _save(load_step_classifier, tiny_model, tmp_path_factory.mktemp("process"))


def _save(load: Any, base: str, folder: Path) -> Path:
    import torch

    source = resolve_model(base)
    tokenizer = load_tokenizer(source)
    torch.manual_seed(0)
    model = load(source, tokenizer)
    torch.nn.init.normal_(model.score.weight, std=0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def values(model: ProcessModel, samples: list[Sample]) -> list[float | None]:
    return [score.value for score in model.score_batch(samples)]


@pytest.mark.parametrize("template", [True, False])
def test_each_step_ends_with_its_separator_and_begins_where_the_one_before_ended(
    tiny_model: str, template: bool
) -> None:
    tokenizer = load_tokenizer(resolve_model(tiny_model))
    tokenizer.chat_template = tokenizer.chat_template if template else None
    start, _ = encode_steps(tokenizer, PROMPT, [])
    ids, ends = encode_steps(tokenizer, PROMPT, STEPS)
    cuts = [len(start), *(end + 1 for end in ends)]
    pieces = [tokenizer.decode(ids[a:b]) for a, b in pairwise(cuts)]
    assert pieces == [step + "\n" for step in STEPS]
    assert cuts[-1] == len(ids)
    assert all(encode_steps(tokenizer, PROMPT, STEPS[:n])[0] == ids[: cuts[n]] for n in range(4))


def test_what_is_read_is_what_a_generation_would_have_been(tiny_model: str) -> None:
    from rlllm.policies.chat import encode_prompts

    tokenizer = load_tokenizer(resolve_model(tiny_model))
    assert encode_steps(tokenizer, PROMPT, [])[0] == encode_prompts(tokenizer, [PROMPT])[0]


def test_a_score_does_not_depend_on_the_batch_or_the_padding(folder: Path) -> None:
    alone = [values(ProcessModel(str(folder)), [sample])[0] for sample in SAMPLES]
    together = values(ProcessModel(str(folder), batch_size=4), SAMPLES)
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(value or 0.0, 3) for value in alone}) == len(SAMPLES)


def test_a_later_step_does_not_change_an_earlier_one(folder: Path) -> None:
    model = ProcessModel(str(folder))
    whole, cut, other = model.chances([(PROMPT, STEPS), (PROMPT, STEPS[:2]), (PROMPT, [*STEPS[:2], "#### 7"])])
    assert whole is not None
    assert whole[:2] == pytest.approx(cut, abs=1e-5)
    assert other is not None
    assert whole[:2] == pytest.approx(other[:2], abs=1e-5)


def test_product_minimum_and_last_step_are_what_they_say(folder: Path) -> None:
    (chances,) = ProcessModel(str(folder)).chances([(PROMPT, STEPS)])
    assert chances is not None
    a, b, c = chances
    kinds: dict[Any, float] = {"product": a * b * c, "min": min(a, b, c), "last": c}
    for kind, expected in kinds.items():
        assert values(ProcessModel(str(folder), aggregate=kind), SAMPLES[:1]) == pytest.approx([expected], abs=1e-6)


def test_a_score_shows_every_step_and_the_first_that_is_doubted(folder: Path) -> None:
    (score,) = ProcessModel(str(folder)).score_batch(SAMPLES[:1])
    assert score.parsed is not None
    shown = [float(word) for word in score.parsed.split()]
    doubted = first_below(shown)
    assert len(shown) == 3
    if doubted is None:
        assert score.note == "no step below 0.5"
    else:
        assert score.note == f"first step below 0.5: {doubted + 1} ({STEPS[doubted]})"


def test_what_has_no_steps_or_is_too_long_cannot_be_judged(folder: Path) -> None:
    empty, long, fine = ProcessModel(str(folder), max_length=60).score_batch(
        [Sample("p", " \n"), Sample("p", "1\n" * 50), Sample("p", "1")]
    )
    assert (empty.value, long.value) == (None, None)
    assert (empty.note, long.note) == ("no steps: the completion has no text", "longer than 60 tokens")
    assert fine.value is not None


@pytest.mark.parametrize(
    ("text", "steps"),
    [("a\nb", ["a", "b"]), ("a\n\n b\n", ["a", " b"]), ("", []), ("\n", []), ("a\u2028b", ["a\u2028b"])],
)
def test_steps_are_the_lines_that_hold_text(text: str, steps: list[str]) -> None:
    assert split_steps(text) == steps


def test_it_is_found_by_name_and_given_its_arguments(folder: Path) -> None:
    spec = RewardSpec.model_validate({"name": "process", "path": str(folder), "aggregate": "min"})
    assert build([spec]).score(SAMPLES[:1]).totals == pytest.approx(
        values(ProcessModel(str(folder), aggregate="min"), SAMPLES[:1])
    )
    with pytest.raises(ConfigError, match="aggregate of the reward process"):
        build([RewardSpec(name="process", params={"path": str(folder), "aggregate": "mean"})])
    with pytest.raises(ConfigError, match="must be positive"):
        ProcessModel(str(folder), batch_size=0)


def test_an_ordinary_reward_model_is_no_process_reward_model_and_the_reverse(
    folder: Path, tiny_model: str, tmp_path: Path
) -> None:
    scalar = _save(load_classifier, tiny_model, tmp_path / "scalar")
    with pytest.raises(ModelError, match=r"not a process reward model(.|\n)*ForSequenceClassification, 1 label\)") as e:
        ProcessModel(str(scalar))
    assert e.value.hint == "it scores whole answers: use the reward model"
    assert e.value.exit_code == 2
    with pytest.raises(ModelError, match="not a reward model"):
        RewardModel(str(folder))
    with pytest.raises(ModelError, match=r"not a process reward model(.|\n)*LlamaForCausalLM"):
        ProcessModel(tiny_model)


def test_a_folder_that_cannot_be_read_or_has_no_trained_head_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        ProcessModel(str(tmp_path))
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "score" not in k}, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="trained head"):
        ProcessModel(str(copy)).score_batch(SAMPLES)
    (copy / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="does not load"):
        ProcessModel(str(copy)).score_batch(SAMPLES)
    settings = json.loads((copy / "config.json").read_text())
    settings["id2label"] = {"0": "a", "1": "b", "2": "c"}
    (copy / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="3 labels"):
        ProcessModel(str(copy))


def test_a_conversation_needs_a_chat_template(folder: Path) -> None:
    model = ProcessModel(str(folder))
    model._loaded[0].chat_template = None
    with pytest.raises(DataError, match="no chat template"):
        model.score_batch([Sample([{"role": "user", "content": "hi"}], "1")])
