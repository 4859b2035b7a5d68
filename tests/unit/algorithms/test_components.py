"""Components by name: what a user's own may be, what is refused when a run is planned, and what is tried on a made-up batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlllm.algorithms.component_dry_run import try_out
from rlllm.algorithms.components import Components, SlotSpec, component
from rlllm.algorithms.protocols import SLOTS, FunctionLoss, Setup, as_component
from rlllm.core.errors import ConfigError, PluginError, RlllmError
from rlllm.core.records import PromptTask

SETUP = Setup(4, [PromptTask("a", "b", {"hard": 1})] * 3, ["exact"], [1.0], "loss", off_policy=False)
HEAD = "from rlllm.plugins import Advantage, Erasure, Loss, Mask, Sampler\n"


def spec(path: Path, name: str, **fields: Any) -> SlotSpec:
    return SlotSpec.model_validate({"name": f"{path}:{name}", **fields})


def tried(folder: Path, slot: str, body: str, **fields: Any) -> None:
    """Plan's two checks of the component `Own` in a file of this body."""
    path = folder / "parts.py"
    path.write_text(HEAD + body)
    specs = {"advantage": SlotSpec(name="group"), "loss": SlotSpec(name="grpo"), slot: spec(path, "Own", **fields)}
    components = Components.of(specs)
    try_out({slot: components.by_slot[slot]}, components, SETUP)


REFUSED: list[tuple[str, str, type[RlllmError], str]] = [
    (
        "advantage",
        "class Own:\n    def __call__(self, batch): return 0\n",
        ConfigError,
        "is a class that is no Advantage",
    ),
    ("advantage", "class Own(Advantage):\n    need = ('logps',)\n", ConfigError, "did you mean needs?"),
    ("advantage", "class Own(Advantage):\n    compares_groups = True\n", ConfigError, "did you mean compares_group?"),
    (
        "advantage",
        "class Own(Advantage):\n    def load_state(self, s): pass\n",
        ConfigError,
        "did you mean load_state_dict?",
    ),
    ("sampler", "class Own(Sampler):\n    rounds = 3\n", ConfigError, "declares rounds, which no Sampler has"),
    ("loss", "class Own(Loss):\n    aggregation = 'token-mean'\n", ConfigError, "does not define __call__"),
    ("mask", "Own = 3\n", ConfigError, "cannot be called"),
    ("advantage", "class Own(Advantage):\n    needs = ('entropy',)\n", ConfigError, "did you mean entropies?"),
    ("advantage", "def Own(batch): return batch.rewards\n", PluginError, r"returned \(8, 1\)"),
    ("advantage", "def Own(batch): return batch.reward\n", PluginError, "did you mean rewards?"),
    (
        "advantage",
        "def Own(batch):\n    x = 1\n    return x / 0\n",
        PluginError,
        r"ZeroDivisionError.*parts\.py, line 4",
    ),
    ("advantage", "def Own(batch): return batch.trl_advantages / 0\n", PluginError, "not finite"),
    ("advantage", "def Own(batch): return batch.signals['logps']\n", PluginError, "KeyError"),
    ("mask", "def Own(batch): return batch.loss_mask[:, :2]\n", PluginError, r"returned \(8, 2\)"),
    ("loss", "def Own(logps, inputs): return (logps * inputs.advantages).mean()\n", PluginError, r"returned \(\)"),
    (
        "loss",
        "def Own(logps, inputs): return logps.detach()\n",
        PluginError,
        "does not depend on the log-probabilities",
    ),
    ("loss", "def Own(logps, inputs): return logps * inputs.advantage\n", PluginError, "did you mean advantages?"),
    ("sampler", "def Own(rows, seed, epoch): return [rows]\n", PluginError, "row numbers from 0 to 2"),
    ("sampler", "def Own(rows): return [0]\n", PluginError, "Own raised TypeError"),
    (
        "erase",
        "class Own(Erasure):\n    def rejects(self, c): return [e.mean() > 1 for e in c.entropies]\n",
        PluginError,
        "of bool is expected for 8 candidates",
    ),
]


@pytest.mark.parametrize(("slot", "body", "kind", "words"), REFUSED, ids=[words for *_, words in REFUSED])
def test_a_mistake_is_found_when_the_run_is_planned(
    tmp_path: Path, slot: str, body: str, kind: type[RlllmError], words: str
) -> None:
    folder = tmp_path / str(abs(hash(body)))
    folder.mkdir()
    with pytest.raises(kind, match=f"(?s){words}") as caught:
        tried(folder, slot, body)
    assert "bug in rlllm" not in str(caught.value)


GOOD = [
    ("advantage", "def Own(batch): return batch.rewards[:, 0]\n"),
    (
        "advantage",
        "class Own(Advantage):\n    needs = ('logps',)\n    def __call__(self, b): return b.logps * b.loss_mask\n",
    ),
    ("mask", "def Own(batch): return batch.loss_mask\n"),
    ("loss", "def Own(logps, inputs): return -logps * inputs.advantages\n"),
    ("loss", "def Own(logps, inputs): return -(logps * inputs.advantages).mean(1, keepdim=True)\n"),
    ("sampler", "def Own(rows, seed, epoch): return list(range(rows))\n"),
    ("erase", "class Own(Erasure):\n    segment_length = 4\n"),
    ("sampler", "class Own(Sampler):\n    max_rounds = 2\n    LIMIT = 3\n    def helper(self): return 1\n"),
]


@pytest.mark.parametrize(("slot", "body"), GOOD, ids=range(len(GOOD)))
def test_what_keeps_to_its_protocol_is_taken(tmp_path: Path, slot: str, body: str) -> None:
    folder = tmp_path / str(abs(hash(body)))
    folder.mkdir()
    tried(folder, slot, body)


def test_a_function_takes_arguments_and_a_loss_an_aggregation(tmp_path: Path) -> None:
    path = tmp_path / "losses.py"
    path.write_text("def scaled(logps, inputs, by=1.0): return -by * logps * inputs.advantages\n")
    loss = component("loss", spec(path, "scaled", by=2.0, aggregation="seq-mean-token-mean"))
    assert isinstance(loss, FunctionLoss)
    assert loss.aggregation == "seq-mean-token-mean"
    assert loss.function.keywords == {"by": 2.0}  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="unexpected keyword argument 'amount'"):
        component("loss", spec(path, "scaled", amount=2.0))


@pytest.mark.parametrize("slot", SLOTS)
def test_a_base_by_itself_is_neutral(slot: str) -> None:
    base = SLOTS[slot]()
    assert (list(base.needs), dict(base.trl_settings), dict(base.metrics), base.state_dict()) == ([], {}, {}, {})
    assert base.compares_group is False
    assert as_component(slot, base) is base


STATEFUL = """
from rlllm.plugins import Advantage, Dialogue, Erasure, Loss, Mask, OffPolicy, Reflection, Sampler


class Counts:
    def __init__(self): self._calls = 0
    def state_dict(self): return {"calls": self._calls}
    def load_state_dict(self, state): self._calls = state["calls"]

    @property
    def metrics(self):
        self._calls += 1
        return {f"calls/{type(self).__name__}": self._calls}


class CountingAdvantage(Counts, Advantage): pass
class CountingMask(Counts, Mask): pass
class CountingSampler(Counts, Sampler): pass
class CountingErasure(Counts, Erasure): segment_length = 3
class CountingDialogue(Counts, Dialogue): pass
class CountingReflection(Counts, Reflection): text = "Again?"


class CountingOffPolicy(Counts, OffPolicy):
    def places(self, rows, group_size): return list(range(0, rows, group_size))
    def ids(self, task, tokenizer, limit): return tokenizer("7", add_special_tokens=False)["input_ids"][:limit]


class CountingLoss(Counts, Loss):
    def __call__(self, logps, inputs): return -logps * inputs.advantages
"""


@pytest.mark.parametrize(
    ("slot", "kind"),
    [("off_policy", "OffPolicy"), ("erase", "Erasure"), ("dialogue", "Dialogue"), ("reflect", "Reflection")],
)
def test_state_and_metrics_of_every_slot_are_kept(nano: str, tmp_path: Path, slot: str, kind: str) -> None:
    """The last four slots do not go together."""
    import rlllm

    (tmp_path / "counting.py").write_text(STATEFUL)
    settings: dict[str, Any] = {
        "model": nano,
        "data": {"name": "arithmetic", "rows": 16, "holdout": 0},
        "eval": {"rows": 0},
        "output_dir": tmp_path / "run",
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "max_completion_length": 30 if slot == "reflect" else 6,
        "max_steps": 2,
        "save_steps": 1,
        **{
            key: f"{tmp_path / 'counting.py'}:Counting{name}"
            for key, name in {
                "advantage": "Advantage",
                "mask": "Mask",
                "sampler": "Sampler",
                "loss": "Loss",
                slot: kind,
            }.items()
        },
    }
    run = rlllm.reason(**settings)
    assert run.verdict["diagnostics"]["steps_done"] == 2
    states = json.loads((run.checkpoints / "checkpoint-1" / "slots.json").read_text())
    assert {name for name, state in states.items() if "calls" in state} == {
        *SLOTS.keys() - {"off_policy", "erase", "dialogue", "reflect"},
        slot,
    }
    logged = [row for row in run.metrics() if "calls/CountingLoss" in row]
    assert len(logged) == 2
    rows = list(run.samples())
    assert sum(bool(row.get("demonstration")) for row in rows) == (len(rows) // 4 if slot == "off_policy" else 0)
