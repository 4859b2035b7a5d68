"""The `model` reward on a tiny random classifier: scores do not depend on the batch, tokens are those of training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, ModelError
from rlllm.core.records import Prompt, Sample
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.models.classifier import Classifier
from rlllm.rewards.models.reward_model import RewardModel

TEMPLATE = "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}</s>{% endfor %}"
SAMPLES = [
    Sample("2 + 3", "5"),
    Sample("2 + 3", "#### 5, as anybody can see who counts on the fingers of one hand"),
    Sample("a much longer question, which nobody can answer", "no"),
    Sample("", "x"),
    Sample("2 + 3", ""),
    Sample("2 + 3", "5</s>"),
    Sample("7 - 3", "4"),
]


def tokenizer(template: str | None) -> Any:
    """One token per byte; the end of a sequence is its own token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", pad_token="<pad>")
    made.chat_template = template
    return made


def save(folder: Path, template: str | None, labels: int = 1) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    made = tokenizer(template)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(made),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        num_labels=labels,
        pad_token_id=made.pad_token_id,
        initializer_range=0.5,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("plain"), None)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("chat"), TEMPLATE)


def values(model: RewardModel, samples: list[Sample]) -> list[float | None]:
    return [score.value for score in model.score_batch(samples)]


@pytest.mark.parametrize("folder", ["plain", "chat"])
def test_a_score_does_not_depend_on_the_batch(folder: str, request: pytest.FixtureRequest) -> None:
    path = str(request.getfixturevalue(folder))
    alone = [values(RewardModel(path), [sample])[0] for sample in SAMPLES]
    assert len({round(value, 4) for value in alone if value is not None}) >= len(SAMPLES) - 1
    for size in (1, 2, 3, 16):
        assert values(RewardModel(path, batch_size=size), SAMPLES) == pytest.approx(alone, abs=1e-5)
    assert values(RewardModel(path), SAMPLES[::-1]) == pytest.approx(alone[::-1], abs=1e-5)


def test_a_plain_text_ends_with_one_end_token(plain: Path) -> None:
    without, with_end = values(RewardModel(str(plain)), [Sample("2 + 3", "5"), Sample("2 + 3", "5</s>")])
    assert without == pytest.approx(with_end, abs=1e-5)


@pytest.mark.parametrize("folder", ["plain", "chat"])
def test_tokens_are_those_the_reward_trainer_learned_from(
    folder: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    path = str(request.getfixturevalue(folder))
    samples = [Sample("2 + 3", "5"), Sample("what is it?", "#### 7, I think")]

    def row(sample: Sample) -> dict[str, Any]:
        prompt: Prompt = sample.prompt
        if folder == "plain":
            return {"prompt": prompt, "chosen": sample.completion, "rejected": "no"}
        return {
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": sample.completion}],
            "rejected": [{"role": "assistant", "content": "no"}],
        }

    trainer = RewardTrainer(
        model=AutoModelForSequenceClassification.from_pretrained(path),
        args=RewardConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none"),
        train_dataset=Dataset.from_list([row(sample) for sample in samples]),
        processing_class=AutoTokenizer.from_pretrained(path),
    )
    assert Classifier(path).encode(samples) == trainer.train_dataset["chosen_ids"][:]


def test_a_plain_prompt_is_one_user_turn_where_there_is_a_chat_template(chat: Path) -> None:
    turn = Sample([{"role": "user", "content": "2 + 3"}], "5")
    first, second = values(RewardModel(str(chat)), [Sample("2 + 3", "5"), turn])
    assert first == second


def test_a_conversation_needs_a_chat_template(plain: Path) -> None:
    with pytest.raises(DataError, match="no chat template"):
        RewardModel(str(plain)).score_batch([Sample([{"role": "user", "content": "2 + 3"}], "5")])


def test_of_a_text_that_is_too_long_the_end_is_scored_and_that_is_noted(plain: Path) -> None:
    long, short = RewardModel(str(plain), max_length=8).score_batch(
        [Sample("x" * 50, "1234567"), Sample("", "1234567")]
    )
    assert long.value == pytest.approx(short.value, abs=1e-5)
    assert long.note == "scored the last 8 of 58 tokens"
    assert short.note is None


def test_it_is_found_by_name_and_given_its_folder(plain: Path) -> None:
    composition = build([RewardSpec.model_validate({"name": "model", "path": str(plain), "batch_size": 2})])
    scores = composition.score(SAMPLES)
    assert scores.errors == []
    assert scores.totals == pytest.approx(values(RewardModel(str(plain)), SAMPLES), abs=1e-5)


def test_a_folder_that_is_no_reward_model_is_refused_before_it_is_loaded(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        RewardModel(str(tmp_path))
    copy = tmp_path / "causal"
    shutil.copytree(plain, copy)
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**settings, "architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(ModelError, match="not a reward model") as caught:
        RewardModel(str(copy))
    assert caught.value.exit_code == 2
    assert "LlamaForCausalLM" in str(caught.value)
    with pytest.raises(ModelError, match="3 labels"):
        RewardModel(str(save(tmp_path / "three", None, labels=3)))


def test_a_classifier_whose_weights_cannot_be_read_is_a_model_error(plain: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(plain, copy)
    (copy / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="does not load"):
        RewardModel(str(copy)).score_batch(SAMPLES)


def test_a_classifier_without_a_trained_head_is_refused(plain: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(plain, copy)
    weights = load_file(copy / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="a trained head"):
        RewardModel(str(copy)).score_batch(SAMPLES)


def test_sizes_must_be_positive(plain: Path) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        RewardModel(str(plain), batch_size=0)


def test_of_a_text_that_is_longer_than_the_table_of_positions_the_end_is_scored(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2ForSequenceClassification

    made = tokenizer(None)
    config = GPT2Config(
        vocab_size=len(made),
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=32,
        num_labels=1,
        pad_token_id=made.pad_token_id,
        initializer_range=0.5,
    )
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    made.save_pretrained(tmp_path)
    model, end = RewardModel(str(tmp_path)), "y" * 31
    short, long = model.score_batch([Sample("", end), Sample("x" * 40, end)])
    assert long.value == pytest.approx(short.value, abs=1e-5)
    assert long.note == "scored the last 32 of 72 tokens"
    assert model.score_padded([Sample("", end)], 7)[0].value == pytest.approx(short.value, abs=1e-5)


def test_a_model_in_training_is_scored_without_dropout_and_stays_in_training(plain: Path) -> None:
    made, classifier = Classifier(str(plain))._loaded
    classifier.model.layers[0].self_attn.attention_dropout = 0.9
    expected = values(RewardModel(str(plain)), SAMPLES)
    assert values(RewardModel.of(classifier.train(), made), SAMPLES) == pytest.approx(expected, abs=1e-5)
    assert classifier.training
