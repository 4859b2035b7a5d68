"""Signals against NumPy or plain passes, and how the trainer computes them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from rlllm.algorithms.components import signals_of
from rlllm.algorithms.forward_pass import Pass, Window, plain_pass
from rlllm.algorithms.protocols import Advantage
from rlllm.algorithms.registry import SIGNALS
from rlllm.algorithms.signals.attention_shares import AttentionShares
from rlllm.algorithms.signals.base import Signal
from rlllm.algorithms.signals.sibling_distributions import Distributions, SiblingDivergence, divergence_from_mean
from rlllm.algorithms.signals.step_hidden_states import StepHiddenStates, step_means, step_numbers
from rlllm.algorithms.signals.teacher_logps import TeacherLogps
from rlllm.algorithms.tensor_dict import prompts_with_completions
from rlllm.core.errors import ConfigError, DataError, ModelError, UnknownNameError
from rlllm.core.records import PromptTask

GROUP = 2
LENGTHS = (4, 6, 3, 5)


def policy() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=300, num_hidden_layers=2, **sizes)).eval()


def context(model: Any, tokenizer: Any = None) -> Any:
    """Four completions in two groups, with left-padded prompts of different lengths."""
    draw = torch.Generator().manual_seed(1)
    of_groups = [torch.randint(10, 250, (2 + group,), generator=draw).tolist() for group in range(4 // GROUP)]
    prompts = [prompt for prompt in of_groups for _ in range(GROUP)]
    width, keep = max(map(len, prompts)), max(LENGTHS)
    ids = torch.randint(10, 250, (4, keep), generator=draw)
    mask = (torch.arange(keep) < torch.tensor(LENGTHS).unsqueeze(1)).long()
    output = {
        "prompt_ids": torch.tensor([[0] * (width - len(row)) + row for row in prompts]),
        "prompt_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts]),
        "completion_ids": ids,
        "completion_mask": mask,
    }

    @torch.no_grad()
    def passes(ids: Tensor, mask: Tensor, keep: int) -> list[Pass]:
        parts = zip(ids.split(3), mask.split(3), strict=True)
        return [plain_pass(model, Window.of(*part, keep), 0.7) for part in parts]

    tasks = [PromptTask("What is 1 + 1?", "2", {"solution": f"it is {index}"}) for index in range(4)]
    given = {"model": model, "tokenizer": tokenizer, "output": output, "tasks": tasks, "group_size": GROUP}
    return SimpleNamespace(**given, temperature=0.7, rows_per_pass=3, passes=passes)


def distributions(model: Any, output: dict[str, Tensor], row: int, temperature: float) -> Tensor:
    """(T, V) log-probabilities at a row's completion tokens, from a pass over that row alone, without padding."""
    prompt = output["prompt_ids"][row][output["prompt_mask"][row].bool()]
    completion = output["completion_ids"][row, : LENGTHS[row]]
    with torch.no_grad():
        logits = model(input_ids=torch.cat([prompt, completion]).unsqueeze(0)).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits / temperature, -1)


@pytest.mark.parametrize("positions", [1, 2, 16])
def test_sibling_distributions_are_those_of_rows_alone_whatever_the_chunk(positions: int) -> None:
    made = context(policy())
    seen: list[tuple[Tensor, Tensor]] = []

    def first_probability(logps: Tensor, mask: Tensor) -> Tensor:
        seen.append((logps, mask))
        return logps[..., 7]

    values = Distributions(made, positions).reduce(first_probability)
    assert values.shape == made.output["completion_ids"].shape
    assert all(logps.shape[1] <= positions for logps, _ in seen)
    for row, length in enumerate(LENGTHS):
        expected = distributions(made.model, made.output, row, 0.7)[:, 7]
        torch.testing.assert_close(values[row, :length], expected, atol=1e-5, rtol=1e-5)
        assert not values[row, length:].any()


def attention_of(model: Any, output: dict[str, Tensor], row: int, tokens: int, layer: int) -> Tensor:
    """(T,) shares by hand: the whole attention matrix of a row alone, without padding."""
    prompt = output["prompt_ids"][row][output["prompt_mask"][row].bool()]
    ids = torch.cat([prompt, output["completion_ids"][row, : LENGTHS[row]]]).unsqueeze(0)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        matrix = model(input_ids=ids, output_attentions=True).attentions[layer][0].mean(0)
    model.set_attn_implementation("sdpa")
    paid = matrix[len(prompt) :, len(prompt) :][-tokens:].sum(0)
    return paid / paid.sum()


def windowed() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = MistralConfig(vocab_size=300, num_hidden_layers=2, sliding_window=4, **sizes)
    return MistralForCausalLM._from_config(config, attn_implementation="sdpa").eval()


@pytest.mark.parametrize(("tokens", "layer"), [(1, -1), (2, 0), (4, -1), (64, 1)])
@pytest.mark.parametrize("make", [policy, windowed])
def test_attention_shares_are_those_of_rows_alone(make: Any, tokens: int, layer: int) -> None:
    made = context(make())
    shares = AttentionShares(tokens, layer).compute(made)
    assert shares.shape == made.output["completion_ids"].shape
    for row, length in enumerate(LENGTHS):
        expected = attention_of(made.model, made.output, row, tokens, layer)
        torch.testing.assert_close(shares[row, :length], expected, atol=1e-6, rtol=1e-5)
        assert not shares[row, length:].any()
    assert made.model.config._attn_implementation == "sdpa"


def test_attention_shares_of_a_completion_that_is_masked_as_a_whole_are_zero() -> None:
    made = context(policy())
    made.output["completion_mask"][1] = 0
    shares = AttentionShares().compute(made)
    assert not shares[1].any()
    assert shares[0].sum() == pytest.approx(1)


def test_attention_shares_of_a_model_without_attention_are_refused_by_name() -> None:
    torch.manual_seed(0)
    model = MambaForCausalLM(MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=2, state_size=4)).eval()
    with pytest.raises(ModelError, match="attention_shares needs a layer that pays attention"):
        AttentionShares().compute(context(model))


@given(st.integers(0, 1000), st.integers(2, 4), st.integers(1, 3))
def test_the_divergence_is_jensen_shannon_from_the_mean_of_those_that_have_the_token(
    seed: int, group: int, columns: int
) -> None:
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet(np.ones(6), size=(group, columns))
    mask = draw.integers(0, 2, size=(group, columns))
    mask[0] = 1
    computed = divergence_from_mean(torch.tensor(shares).log(), torch.tensor(mask)).numpy()
    for column in range(columns):
        real = mask[:, column].astype(bool)
        mean = shares[real, column].mean(0)
        for row in np.flatnonzero(real):
            middle = (shares[row, column] + mean) / 2
            own, other = (float((p * np.log(p / middle)).sum()) for p in (shares[row, column], mean))
            assert computed[row, column] == pytest.approx((own + other) / 2, abs=1e-6)
    assert (computed[mask == 1] <= np.log(2) + 1e-9).all()


def test_equal_prefixes_do_not_diverge() -> None:
    """Both completions of a group have the same prompt, so the distribution of their first token is one."""
    made = context(policy())
    divergence = SiblingDivergence().compute(made)
    assert divergence[:, 0].abs().max() < 1e-6
    assert float(divergence[:, 1].max()) > 0


def test_a_model_whose_logits_are_not_its_head_is_refused() -> None:
    model = policy()
    plain = model.forward

    def scaled(*args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        output.logits = output.logits * 3 + 1
        return output

    model.forward = scaled
    with pytest.raises(Exception, match="cannot be computed in chunks"):
        SiblingDivergence().compute(context(model))


@given(st.lists(st.lists(st.integers(-1, 3), min_size=5, max_size=5), min_size=1, max_size=3), st.integers(0, 99))
def test_step_means_are_numpys(steps: list[list[int]], seed: int) -> None:
    hidden = torch.randn(len(steps), 5, 2, generator=torch.Generator().manual_seed(seed))
    means = step_means(hidden, torch.tensor(steps)).numpy()
    for row, numbers in enumerate(np.array(steps)):
        for step in range(means.shape[1]):
            own = hidden[row].numpy()[numbers == step]
            if len(own):
                np.testing.assert_allclose(means[row, step], own.mean(0), atol=1e-5)
            else:
                assert np.isnan(means[row, step]).all()


STEPS: list[tuple[str, str]] = [
    ("one\ntwo\nthree", "0000111122222"),
    ("one\n\n \ntwo\nthree.", "0000000" + "1111" + "222222"),
    ("\none\ntwo\nthree\n", "00000111122222" + "2"),
    ("a. b? Yes! c", "000111222223"),
    ("pi is 3.14. So", "000000000000" + "11"),
    ("a. b\nc. d\ne. f", "00000" + "11111" + "2222"),
    ("one", "000"),
]


@pytest.mark.parametrize(("text", "expected"), STEPS, ids=[text for text, _ in STEPS])
def test_steps_are_lines_or_sentences_where_there_are_few_lines(tiny_model: str, text: str, expected: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    pieces = [tokenizer.decode([token]) for token in ids[0].tolist()]
    starts = [sum(map(len, pieces[:place])) for place in range(len(pieces))]
    steps = step_numbers(ids, torch.ones_like(ids), tokenizer)[0].tolist()
    assert steps == [int(expected[start]) for start in starts]


def test_special_tokens_and_padding_belong_to_no_step_and_windows_count_the_others(tiny_model: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    end = tokenizer.eos_token_id
    ids = tokenizer("abcdefgh", add_special_tokens=False, return_tensors="pt")["input_ids"][0].tolist()[:5]
    row, mask = torch.tensor([[ids[0], end, *ids[1:], end, end]]), torch.tensor([[1] * 7 + [0]])
    assert step_numbers(row, mask, tokenizer, window=2)[0].tolist() == [0, -1, 0, 1, 1, 2, -1, -1]
    assert step_numbers(row, torch.zeros_like(row), tokenizer).unique().tolist() == [-1]


def test_a_step_is_the_mean_of_its_own_tokens_states(tiny_model: str) -> None:
    """By hand: one completion alone, its hidden states by one call of the model; the last token has none in the pass."""
    from transformers import AutoModelForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    given = context(model, tokenizer)
    with torch.no_grad():
        parts = zip(*(part.split(3) for part in prompts_with_completions(given.output)), strict=True)
        passes = [plain_pass(model, Window.of(*part, max(LENGTHS)), 0.7, hidden_states=True) for part in parts]
        signal = StepHiddenStates(window=2)
        states = signal.join([signal.from_pass(made, given) for made in passes])
        for row, length in enumerate(LENGTHS):
            prompt = given.output["prompt_ids"][row][given.output["prompt_mask"][row].bool()]
            ids = torch.cat([prompt, given.output["completion_ids"][row, :length]])
            hidden = model(input_ids=ids[None], output_hidden_states=True).hidden_states[-1][0, len(prompt) :]
            plain = [token not in tokenizer.all_special_ids for token in ids[len(prompt) :].tolist()]
            own = hidden[[place for place in range(length - 1) if plain[place]]]
            expected = torch.stack([part.mean(0) for part in own.split(2)])
            torch.testing.assert_close(states[row, : len(expected)], expected, atol=1e-5, rtol=1e-5)
            assert states[row, len(expected) :].isnan().all()


def test_the_teachers_log_probabilities_are_those_under_its_own_prompt(tiny_model: str) -> None:
    from transformers import AutoModelForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    made, signal = context(model, tokenizer), TeacherLogps(template="{prompt} ({privileged_context})")
    values = signal.compute(made)
    for row, length in enumerate(LENGTHS):
        prompt = f"What is 1 + 1? (it is {row})"
        assert signal.prompt(made.tasks[row]) == prompt
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        completion = made.output["completion_ids"][row, :length]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*ids, *completion.tolist()]])).logits[0, len(ids) - 1 : -1]
        expected = torch.log_softmax(logits / 0.7, -1).gather(1, completion.unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(values[row, :length], expected, atol=1e-5, rtol=1e-5)


def test_a_teacher_without_a_solution_says_which_row_lacks_it() -> None:
    with pytest.raises(DataError, match="needs text in the column worked"):
        TeacherLogps(column="worked").prompt(PromptTask("a", "1", {"solution": "x"}))
    assert TeacherLogps(column="answer", template="{prompt}{privileged_context}").prompt(PromptTask("a", "1")) == "a1"


def test_equal_completions_pass_the_teacher_once(tiny_model: str) -> None:
    from transformers import AutoModelForCausalLM

    made = context(AutoModelForCausalLM.from_pretrained(tiny_model).eval(), AutoTokenizer.from_pretrained(tiny_model))
    alone, passed, plain = TeacherLogps(column="answer").compute(made), [], made.passes
    made.passes = lambda ids, mask, keep: passed.append(len(ids)) or plain(ids, mask, keep)
    for name in ("completion_ids", "completion_mask"):
        made.output[name][[1, 2]] = made.output[name][[0]]
    values = TeacherLogps(column="answer").compute(made)
    assert passed == [2]
    for row, source in enumerate((0, 0, 0, 3)):
        torch.testing.assert_close(
            values[row, : LENGTHS[source]], alone[source, : LENGTHS[source]], atol=1e-5, rtol=1e-5
        )


def test_rows_without_a_solution_have_no_values_where_that_is_allowed(tiny_model: str) -> None:
    from transformers import AutoModelForCausalLM

    made = context(AutoModelForCausalLM.from_pretrained(tiny_model).eval(), AutoTokenizer.from_pretrained(tiny_model))
    whole = TeacherLogps().compute(made)
    made.tasks[1] = PromptTask("What is 1 + 1?", "2", {"solution": " "})
    made.tasks[2] = PromptTask("What is 1 + 1?", "2")
    values = TeacherLogps(optional=True).compute(made)
    assert values[[1, 2]].isnan().all()
    for row in (0, 3):
        torch.testing.assert_close(values[row, : LENGTHS[row]], whole[row, : LENGTHS[row]], atol=1e-5, rtol=1e-5)


def test_a_teacher_whose_prompt_is_too_long_for_the_model_is_refused(tiny_model: str) -> None:
    from transformers import AutoModelForCausalLM

    made = context(AutoModelForCausalLM.from_pretrained(tiny_model).eval(), AutoTokenizer.from_pretrained(tiny_model))
    made.tasks[0] = PromptTask("What is 1 + 1?", "2", {"solution": "2 " * 9000})
    with pytest.raises(ConfigError, match="and the model takes"):
        TeacherLogps().compute(made)


@pytest.mark.parametrize("template", ["{prompt}", "{privileged_context}", "{prompt}{text}", "{prompt}{", "{}{prompt}"])
def test_a_teachers_prompt_without_the_solution_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match=r"made from \{prompt\} and \{privileged_context\}"):
        TeacherLogps(template=template)


class Asking(Advantage):
    """An estimator that needs what it is told."""

    def __init__(self, *needs: Any) -> None:
        self._needs = needs

    @property
    def needs(self) -> tuple[Any, ...]:
        return self._needs


def test_a_signal_that_several_need_is_one_signal() -> None:
    parts = {"advantage": Asking("entropies", TeacherLogps()), "mask": Asking("entropies", TeacherLogps())}
    assert list(signals_of(parts)) == ["entropies", "teacher_logps"]


@pytest.mark.parametrize(
    ("needs", "kind", "words"),
    [
        (("entropy",), UnknownNameError, "did you mean entropies?"),
        ((3,), ConfigError, "no signal"),
        ((TeacherLogps(), TeacherLogps(column="answer")), ConfigError, "with different parameters"),
    ],
)
def test_needs_that_name_no_signal_are_refused(needs: tuple[Any, ...], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        signals_of({"advantage": Asking(*needs)})


@pytest.mark.parametrize("name", sorted(SIGNALS.builtins))
def test_a_built_in_signal_says_what_it_is_and_has_an_example(name: str) -> None:
    signal = SIGNALS.load(name)()
    assert isinstance(signal, Signal)
    assert signal.name == name
    assert "(B" in signal.summary
    assert signal.cost in ("none", "shared pass", "pass", "rollout", "critic")
    example = signal.example(4, 3)
    assert not isinstance(example, Tensor) or len(example) == 4


@pytest.fixture
def trainer(tiny_model: str, tmp_path: Path) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig

    from rlllm.algorithms.rl_trainer import RLTrainer, Slots
    from rlllm.rewards.composition import build
    from rlllm.rewards.config import RewardSpec

    class Collecting(Advantage):
        """Keeps the batch it was given."""

        needs = ("logps", "entropies", StepHiddenStates(), SiblingDivergence(), TeacherLogps(column="answer"))
        batches: list[Any] = []  # noqa: RUF012

        def __call__(self, batch: Any) -> Tensor:
            self.batches.append(batch)
            return batch.trl_advantages

    tasks = [PromptTask(f"say {index}", str(index)) for index in range(4)]
    return RLTrainer(
        slots=Slots(rewards=build([RewardSpec(name="length", params={"budget": 3})]), advantage=Collecting()),
        tasks=tasks,
        on_rollout=lambda rows: None,
        model=AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32),
        args=GRPOConfig(
            str(tmp_path),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            num_generations=2,
            per_device_train_batch_size=4,
            max_completion_length=5,
            report_to="none",
        ),
        train_dataset=Dataset.from_list(
            [{"prompt": [{"role": "user", "content": task.prompt}], "row": row} for row, task in enumerate(tasks)]
        ),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
    )


def test_the_trainer_makes_one_pass_of_its_own_for_all_signals_that_share_it(trainer: Any) -> None:
    trainer.model.train()
    passes: list[bool] = []
    trainer.model.register_forward_hook(
        lambda model, args, kwargs, output: passes.append(bool(kwargs.get("output_hidden_states"))), with_kwargs=True
    )
    trainer._generate_and_score_completions([trainer.train_dataset[row // 2] for row in range(4)])
    (batch,) = trainer.slots.advantage.batches
    shape = batch.completion_ids.shape
    for name in ("logps", "entropies", "sibling_divergence", "teacher_logps"):
        assert batch.signals[name].shape == shape
    steps = batch.signals["step_hidden_states"]
    assert (steps.dim(), len(steps), steps.size(2)) == (3, 4, trainer.model.config.hidden_size)
    assert not steps[:, 0].isnan().any()
    assert sum(passes) == 1
