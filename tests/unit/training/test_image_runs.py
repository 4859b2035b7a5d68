"""Runs on rows with images, by a small vision-language model: what trains, what it sees, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import rlllm
from rlllm.core.errors import ConfigError, ModelError
from rlllm.core.runs import read_json

COLOURS = {"red": (220, 40, 40), "blue": (40, 60, 220)}


def picture(colour: str, generator: random.Random) -> str:
    """A data URI of a square of this colour somewhere on white."""
    image = Image.new("RGB", (32, 32), "white")
    image.paste(COLOURS[colour], (x := generator.randint(0, 8), y := generator.randint(0, 8), x + 22, y + 22))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Kind of record -> file of 48 questions, every fourth of them without an image."""
    folder, generator = tmp_path_factory.mktemp("rows"), random.Random(0)
    files: dict[str, list[dict[str, Any]]] = {"tasks": [], "chats": [], "pairs": [], "labels": []}
    for number in range(48):
        right, wrong = generator.sample(sorted(COLOURS), 2)
        image = {} if number % 4 == 3 else {"images": [picture(right, generator)]}
        asked = {"prompt": f"{number} colour?" if image else f"{number} say {right}", "images": [], **image}
        files["tasks"].append({**asked, "answer": right})
        files["chats"].append({**asked, "completion": right})
        files["pairs"].append({**asked, "chosen": right, "rejected": wrong})
        files["labels"].append({**asked, "completion": wrong if number % 2 else right, "label": not number % 2})
    for name, content in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    (folder / "rewards.py").write_text("def letters(sample): return sum(map(ord, sample.completion)) % 5 / 4\n")
    return {path.stem: str(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of nano-vision."""
    from rlllm.policies.model_sources import resolve_model

    return resolve_model("nano-vision").path


@pytest.fixture(scope="module")
def idefics(tmp_path_factory: pytest.TempPathFactory, blank: str) -> str:
    """Folder of an Idefics3 with random weights and nano-vision's tokenizer: its pixels fill a row of the batch each."""
    from transformers import AutoTokenizer, Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer = AutoTokenizer.from_pretrained(blank)
    marks = ["<fake_token_around_image>", "<end_of_utterance>", "<global-img>"]
    tokenizer.add_special_tokens({"extra_special_tokens": [*tokenizer.extra_special_tokens, *marks]})
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"model_type": "llama", "vocab_size": len(tokenizer), "max_position_embeddings": 512, "bos_token_id": None}
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = Idefics3Config(
        vision_config={**small, "image_size": 32, "patch_size": 8},
        text_config={**small, **text, **ends},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=2,
        dtype="float32",
    )
    edges = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 32}, "do_image_splitting": False}
    images = Idefics3ImageProcessorPil(**edges)
    folder = tmp_path_factory.mktemp("idefics")
    Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=tokenizer.chat_template).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Idefics3ForConditionalGeneration(config)
    model.generation_config.update(**ends)
    model.save_pretrained(folder)
    return str(folder)


def reasoned(model: str, rows: dict[str, str], folder: Path, **settings: Any) -> rlllm.Run:
    return rlllm.reason(
        model=model,
        rewards=f"{rows['rewards']}:letters",
        output_dir=folder,
        learning_rate=1e-3,
        num_generations=4,
        per_device_train_batch_size=16,
        defaults="trl",
        **{
            "data": {"name": rows["tasks"], "holdout": 8},
            "max_completion_length": 6,
            "max_steps": 2,
            "eval.samples": 1,
            **settings,
        },
    )


def weights(run: rlllm.Run) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run.model / "model.safetensors")


@pytest.mark.parametrize("engine", ["native", "hf"])
def test_a_group_with_images_is_sampled_scored_and_learned_from(
    blank: str, rows: dict[str, str], tmp_path: Path, engine: str
) -> None:
    done = reasoned(blank, rows, tmp_path / "run", **{"rollout.engine": engine})
    assert done.ok, done.verdict["reasons"]
    measured = [row["name"] for row in done.results["measures"]]
    assert measured == ["pass@1", "pass@1, images swapped"]
    from rlllm.core.records import images_of

    seen = {bool(images_of(row["prompt"])) for row in done.samples()}
    assert seen == {True, False}  # rows without an image stand in the same rollouts
    before = torch.cat([value.flatten() for value in _weights_of(blank, "vision_tower")])
    after = torch.cat([value.flatten() for name, value in weights(done).items() if "vision_tower" in name])
    assert not torch.equal(before, after)


def _weights_of(folder: str, part: str) -> list[torch.Tensor]:
    from safetensors.torch import load_file

    return [value for name, value in load_file(Path(folder) / "model.safetensors").items() if part in name]


def test_a_run_with_images_is_the_same_after_a_resume(blank: str, rows: dict[str, str], tmp_path: Path) -> None:
    settings = {"sampler": "dynamic", "save_steps": 1, "max_steps": 3}
    whole = reasoned(blank, rows, tmp_path / "whole", **settings)
    cut = reasoned(blank, rows, tmp_path / "cut", **settings)
    shutil.rmtree(cut.model)
    for step in (2, 3):
        shutil.rmtree(cut.checkpoints / f"checkpoint-{step}")
    again = reasoned(blank, rows, tmp_path / "cut", **settings, resume=True)
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(again).items())
    assert [row["completion"] for row in again.samples()] == [row["completion"] for row in whole.samples()]


def test_a_resume_notices_that_an_image_file_was_replaced(blank: str, rows: dict[str, str], tmp_path: Path) -> None:
    from rlllm.core.errors import RunDirectoryError

    for number in range(16):
        Image.new("RGB", (32, 32), "red").save(tmp_path / f"{number}.png")
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"prompt": f"{n}?", "image": f"{n}.png", "answer": "red"}) + "\n" for n in range(16))
    )
    settings = {"save_steps": 1, "data": {"name": str(tmp_path / "rows.jsonl"), "holdout": 0}}
    done = reasoned(blank, rows, tmp_path / "run", **settings)
    shutil.rmtree(done.checkpoints / "checkpoint-2")
    Image.new("RGB", (32, 32), "blue").save(tmp_path / "3.png")
    with pytest.raises(RunDirectoryError, match="the data are not those"):
        reasoned(blank, rows, tmp_path / "run", **settings, resume=True)


@pytest.mark.parametrize("family", ["blank", "idefics"])
def test_the_loops_own_passes_see_the_images_as_trl_does(
    request: pytest.FixtureRequest, rows: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """With `steps_per_generation` TRL scores a rollout again; a KL penalty in the reward needs the same numbers from us."""
    from rlllm.algorithms.rl_trainer import RLTrainer
    from rlllm.algorithms.signals.logps import Logps

    compared: list[float] = []
    inner = RLTrainer._batch

    def compare(self: Any, rollout: Any) -> Any:
        ours = self._shared_pass({"logps": Logps()}, self._signal_context(rollout))["logps"]
        mask = rollout.output["completion_mask"]
        compared.append(float(((ours - rollout.output["old_per_token_logps"]) * mask).abs().max()))
        return inner(self, rollout)

    monkeypatch.setattr(RLTrainer, "_batch", compare)
    assert reasoned(request.getfixturevalue(family), rows, tmp_path / "run", num_iterations=2).ok
    assert compared
    assert max(compared) < 1e-4


def test_a_second_answer_sees_the_images_of_the_first(
    blank: str, rows: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss gets the pixels, and log-probabilities that were computed with them."""
    from rlllm.algorithms.rl_trainer import RLTrainer

    seen: list[dict[str, Any]] = []
    inner = RLTrainer._batch

    def note(self: Any, rollout: Any) -> Any:
        seen.append(rollout.output)
        return inner(self, rollout)

    monkeypatch.setattr(RLTrainer, "_batch", note)
    done = reasoned(blank, rows, tmp_path / "run", reflect="second-answer", max_completion_length=90, max_steps=1)
    assert done.ok, done.verdict["reasons"]
    assert seen[0]["num_images"].count(1) == len(seen[0]["pixel_values"])
    assert 0 < seen[0]["tool_mask"].sum() < seen[0]["completion_mask"].sum()


@pytest.mark.parametrize(("method", "kind"), [("dpo", "pairs"), ("ipo", "pairs"), ("kto", "labels")])
def test_preferences_about_images_are_learned(
    blank: str, rows: dict[str, str], tmp_path: Path, method: str, kind: str
) -> None:
    done = rlllm.align(
        model=blank,
        method=method,
        data={"name": rows[kind], "holdout": 8},
        eval_reward=f"{rows['rewards']}:letters",
        output_dir=tmp_path / "run",
        max_steps=2,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        defaults="trl",
        **{"rollout.max_new_tokens": 4, "eval.samples": 1, "eval.rows": 4},
    )
    assert done.ok, done.verdict["reasons"]
    assert done.results["measures"][-1]["name"] == "KL from the start"
    assert done.results["measures"][-1]["after"]["estimate"] > 0


def test_supervised_training_learns_a_colour_and_the_swapped_images_show_that_it_looks(
    blank: str, tmp_path: Path
) -> None:
    generator = random.Random(1)
    words = sorted(COLOURS)
    content = [
        {"prompt": "colour?", "image": picture(colour, generator), "completion": f"#### {colour}", "answer": colour}
        for colour in generator.choices(words, k=160)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    done = rlllm.sft(
        model=blank,
        data={"name": str(tmp_path / "rows.jsonl"), "holdout": 32},
        eval_reward="exact",
        output_dir=tmp_path / "run",
        max_steps=30,
        per_device_train_batch_size=16,
        learning_rate=1e-3,
        defaults="trl",
        **{"rollout.max_new_tokens": 10, "eval.samples": 1},
    )
    assert done.ok, done.verdict["reasons"]
    after = {row["name"]: row["after"]["estimate"] for row in done.results["measures"]}
    assert after["pass@1"] > 0.9
    assert after["pass@1, images swapped"] < 0.75
    measured = rlllm.evaluate(
        model=str(done.path),
        tasks=[str(tmp_path / "rows.jsonl")],
        rewards=["exact"],
        rows=24,
        samples=1,
        output_dir=tmp_path / "eval",
        **{"sampling.max_new_tokens": 10, "sampling.temperature": 0.0, "image_ablation": ["swapped", "removed"]},
    )
    values = next(iter(measured.results["tasks"].values()))["values"]
    assert values["pass@1"]["estimate"] > 0.9
    assert values["over images swapped"]["low"] > 0
    assert values["pass@1, images removed"]["estimate"] < 0.9


def test_a_saved_model_keeps_its_processor(blank: str, rows: dict[str, str], tmp_path: Path) -> None:
    from rlllm.policies.loading import load_tokenizer
    from rlllm.policies.model_sources import resolve_model
    from rlllm.policies.vision import processor_of

    done = reasoned(blank, rows, tmp_path / "run", max_steps=1, **{"lora.r": 4})
    source = resolve_model(str(done.path))
    assert source.reads_images
    assert processor_of(load_tokenizer(source)) is not None
    assert read_json(done.model / "adapter_config.json")["r"] == 4


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"method": "ppo"}, "whose passes through a model do not see images"),
        ({"erase": "e3rl"}, "samples prompts in segments"),
        ({"environment": "calculator"}, "an environment is played with text"),
    ],
)
def test_what_reads_text_alone_is_refused_beside_images(
    blank: str, rows: dict[str, str], tmp_path: Path, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        reasoned(blank, rows, tmp_path / "run", **settings)


def test_a_model_without_vision_is_refused_before_it_is_loaded(
    tiny_model: str, rows: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="has no vision") as raised:
        reasoned(tiny_model, rows, tmp_path / "run")
    assert "nano-vision" in str(raised.value.hint)
    assert not (tmp_path / "run").exists()


def test_a_row_whose_images_do_not_fit_is_named_before_anything_is_measured(
    blank: str, rows: dict[str, str], tmp_path: Path
) -> None:
    from rlllm.core.errors import DataError

    with pytest.raises(DataError, match=r"row 1 has 3\d tokens with those of its images") as raised:
        rlllm.sft(model=blank, data=rows["chats"], output_dir=tmp_path / "run", max_steps=1, max_length=20)
    assert "max_length=3" in str(raised.value.hint)


def test_tools_of_a_row_beside_its_images_are_refused(blank: str, tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    row = {"prompt": "?", "image": picture("red", random.Random(0)), "answer": "red", "tools": [tool]}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row | {"answer": str(n)}) + "\n" for n in range(8)))
    with pytest.raises(ConfigError, match="row 1 has images, and gives the chat template tools"):
        rlllm.reason(model=blank, data=str(tmp_path / "rows.jsonl"), rewards="exact", output_dir=tmp_path / "run")


@pytest.mark.parametrize("method", ["simpo", "rrhf"])
def test_a_method_whose_trainer_reads_text_is_refused(
    blank: str, rows: dict[str, str], tmp_path: Path, method: str
) -> None:
    with pytest.raises(ConfigError, match=f"method {method} learns from text only"):
        rlllm.align(model=blank, method=method, data=rows["pairs"], output_dir=tmp_path / "run")


def test_the_plan_says_what_images_take(blank: str, rows: dict[str, str]) -> None:
    from rlllm.core.records import PromptTask
    from rlllm.policies.model_sources import resolve_model
    from rlllm.training.images import pixel_bytes

    parts = [{"type": "image", "image": picture("red", random.Random(0))}, {"type": "text", "text": "?"}]
    tasks = [PromptTask([{"role": "user", "content": parts}]), PromptTask("no image")]
    assert pixel_bytes(resolve_model(blank), tasks) == 3 * 4 * 32 * 32 // 2


def test_vac_grpo_takes_pictures_as_channels_with_tiers_and_second_answers(blank: str, tmp_path: Path) -> None:
    run = rlllm.reason(
        model=blank,
        method="vac-grpo",
        data={"name": "cues:1-3", "rows": 6, "holdout": 2, "params": {"channels": "images"}},
        rewards=["tagged", {"name": "tagged-form", "weight": 0.1}, {"name": "consistency", "weight": 0.5}],
        sampler={"name": "curriculum", "samples": 2},
        reflect="second-answer",
        eval={"rows": 2, "samples": 1},
        output_dir=tmp_path / "run",
        max_steps=2,
        num_generations=4,
        per_device_train_batch_size=8,
        max_completion_length=90,
    )
    assert run.verdict["diagnostics"]["steps_done"] == 2
    assert [len(values) for values in read_json(run.path / "start_values.json")["values"]] == [2] * 6
    assert all("first_completion" in row for row in run.samples())
    assert all("curriculum/position" in row for row in run.metrics())
