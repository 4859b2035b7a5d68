"""A run that is stopped and resumed equals one that was not: weights, optimizer, rollouts and metrics, to the bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from run_files import VERBS, differing_weights, learned_metrics, loop_state, optimizer_differs, write_rewards

from rlllm.core.errors import ExitCode, RunDirectoryError
from rlllm.core.runs import Run, verify_manifest

Train = Callable[..., Run]


class Stopper:
    """A listener that presses Ctrl-C when it hears of a step."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.at = step
        self.times = times
        self.notes: list[str] = []

    def started(self, stage: str, total_steps: int, run: Path) -> None:
        pass

    def phase(self, name: str) -> None:
        pass

    def step(self, step: int, values: Mapping[str, float]) -> None:
        for _ in range(self.times if step == self.at else 0):
            os.kill(os.getpid(), signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finished(self, run: Path) -> None:
        pass


def settings_of(verb: str, model: str, rewards: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Eight steps, three steps an epoch, a checkpoint every second step; `REWARDS` in a setting is the file of rewards."""
    common = {
        "model": model,
        "data": {"name": "arithmetic", "rows": 6, "holdout": 2},
        "eval": {"rows": 2, **({} if verb in ("sft", "train-rm") else {"samples": 1})},
        "max_steps": 8,
        "save_steps": 2,
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 2,
    }
    if verb == "reason":
        common |= {
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "max_completion_length": 6,
            "rewards": ["REWARDS:vowels"],
        }
    common |= settings
    if "name" in common.get("dialogue", {}):
        common["dialogue"] = common["dialogue"] | {"name": common["dialogue"]["name"].replace("REWARDS", str(rewards))}
    if "rewards" in common:
        # no deadline: the reward presses Ctrl-C in the process of the run
        common["rewards"] = [
            {"name": name.replace("REWARDS", str(rewards)), "deadline": 0} for name in common["rewards"]
        ]
    return common


@pytest.fixture
def train(tiny_model: str, tmp_path: Path) -> Train:
    """Runs a verb into the named directory."""
    rewards = write_rewards(tmp_path)

    def call(verb: str, name: str, **settings: Any) -> Run:
        return VERBS[verb](output_dir=tmp_path / name, **settings_of(verb, tiny_model, rewards, settings))

    return call


@pytest.fixture(scope="module")
def whole(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """The uninterrupted run of a verb under some settings; each is made once and looked at often."""
    folder = tmp_path_factory.mktemp("whole")
    rewards = write_rewards(folder)
    made: dict[str, Run] = {}

    def call(verb: str, **settings: Any) -> Run:
        key = repr((verb, settings))
        if key not in made:
            output = folder / str(len(made))
            made[key] = VERBS[verb](output_dir=output, **settings_of(verb, tiny_model, rewards, settings))
        return made[key]

    return call


def assert_same_run(one: Run, other: Run) -> None:
    assert differing_weights(one, other) == []
    assert not optimizer_differs(one, other)
    assert loop_state(one) == loop_state(other)
    assert learned_metrics(one) == learned_metrics(other)
    assert list(one.samples()) == list(other.samples())
    assert one.results == other.results
    assert one.verdict == other.verdict


def codes(run: Run) -> list[str]:
    return [reason["code"] for reason in run.verdict["reasons"]]


@pytest.mark.parametrize("verb", VERBS)
def test_the_same_seed_gives_the_same_run_and_another_seed_another(train: Train, whole: Train, verb: str) -> None:
    assert whole(verb).ok
    assert_same_run(train(verb, "again"), whole(verb))
    assert differing_weights(train(verb, "other", seed=1), whole(verb)) != []


@pytest.mark.parametrize("verb", VERBS)
def test_measuring_does_not_touch_what_is_learned(train: Train, whole: Train, verb: str) -> None:
    assert differing_weights(train(verb, "blind", eval={"rows": 0}), whole(verb)) == []


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("step", [1, 4])
def test_after_ctrl_c_a_resume_equals_the_uninterrupted_run(train: Train, whole: Train, verb: str, step: int) -> None:
    """With three steps an epoch, a stop after step 5 lies in the second epoch."""
    stopper = Stopper(step)
    stopped = train(verb, "stopped", progress=stopper)
    assert (stopped.status["state"], codes(stopped), stopped.ok) == ("interrupted", ["interrupted"], False)
    assert stopped.verdict["diagnostics"]["steps_done"] == step + 1
    assert stopped.latest_checkpoint() == stopped.checkpoints / f"checkpoint-{step + 1}"
    notes = [
        note for note in stopper.notes if not note.startswith(("warning: every completion", "warning: truncation"))
    ]  # few tokens are sampled
    assert notes == ["Ctrl-C: saving a checkpoint after this step (again to stop at once)"]
    assert not stopped.model.exists()
    resumed = train(verb, "stopped", resume=True)
    assert (resumed.status["state"], resumed.ok) == ("done", True)
    assert_same_run(resumed, whole(verb))


LOOPS: list[dict[str, Any]] = [
    {},
    {"lr_scheduler_type": "constant", "gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
    {
        "gradient_accumulation_steps": 2,
        "steps_per_generation": 4,
        "per_device_train_batch_size": 4,
        "beta": 0.1,
        "data": {"name": "arithmetic", "rows": 12, "holdout": 0},
    },
    {"steps_per_generation": 2, "per_device_train_batch_size": 4},
    {"num_iterations": 2},
    {"mask": {"name": "random", "fraction": 0.5}, "method": "rloo", "loss_type": "dapo"},
    {"shuffle_dataset": False},
    {"method": "adaptive-entropy", "steps_per_generation": 2, "per_device_train_batch_size": 4},
    {"lora": {"r": 2}},
    {"beta": 0.1, "sync_ref_model": True, "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 0.5},
    {
        "method": "ppo",
        "num_generations": 1,
        "critic": {"warmup_steps": 2},
        "kl": {"target": 0.5},
        "data": {"name": "arithmetic", "rows": 24, "holdout": 0},
    },
    {"method": "ppo", "num_iterations": 2},
    {"method": "ppo", "lora": {"r": 2}, "critic": {"share_backbone": True}},
    {"sampler": "dynamic", "rewards": ["REWARDS:rarely"]},
    {"sampler": {"name": "pass-band", "revisit": 2}, "rewards": ["REWARDS:rarely"], "num_generations": 2},
    {"sampler": {"name": "replay", "age": 2}, "rewards": ["REWARDS:rarely"], "num_generations": 2},
    {"sampler": "hints", "rewards": ["REWARDS:rarely"], "off_policy": "demonstrations"},
    {"reflect": {"name": "second-answer", "text": "?"}, "max_completion_length": 14},
    {"method": "tracer", "dialogue": {"marked": False, "history": 1}, "eval": {"rows": 0}},
    {
        "method": "tracer",
        "dialogue": {"name": "REWARDS:Paid", "adapters": "per-role", "marked": False, "history": 1, "floor": 1.0},
        "lora": {"r": 2},
        "eval": {"rows": 0},
    },
]


@pytest.mark.parametrize("settings", LOOPS, ids=lambda settings: "-".join(settings) or "plain")
@pytest.mark.parametrize("calls", [3, 20])
def test_a_loop_stopped_in_the_middle_of_a_rollout_resumes_exactly(
    train: Train, whole: Train, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], calls: int
) -> None:
    uninterrupted = whole("reason", **settings)
    monkeypatch.setenv("CALLS_UNTIL_CTRL_C", str(calls))
    stopped = train("reason", "stopped", **settings)
    assert codes(stopped) == ["interrupted"]
    done = stopped.verdict["diagnostics"]["steps_done"]
    assert 0 < done < 8
    monkeypatch.delenv("CALLS_UNTIL_CTRL_C")
    resumed = train("reason", "stopped", resume=True, **settings)
    assert resumed.ok
    assert [row["step"] for row in resumed.metrics()] == list(range(1, 9))
    assert_same_run(resumed, uninterrupted)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_reference_that_moves_is_in_the_checkpoint(train: Train, whole: Train, method: str) -> None:
    data = {"name": "arithmetic", "rows": 40 if method == "kto" else 6, "holdout": 2}
    moving = {
        "method": method,
        "data": data,
        "sync_ref_model": True,
        "ref_model_sync_steps": 1,
        "ref_model_mixup_alpha": 0.5,
    }
    uninterrupted = whole("align", **moving)
    train("align", "stopped", progress=Stopper(3), **moving)
    assert_same_run(train("align", "stopped", resume=True, **moving), uninterrupted)


@pytest.mark.parametrize("step", [1, 4])
def test_a_curriculum_goes_on_with_the_tiers_and_the_position_of_its_first_start(
    train: Train, whole: Train, step: int
) -> None:
    settings = {
        "sampler": {"name": "curriculum", "samples": 2, "up": 0.1, "down": 0.0, "raises": ["vowels"]},
        "rewards": ["REWARDS:rarely", "REWARDS:vowels"],
        "num_generations": 2,
    }
    uninterrupted = whole("reason", **settings)
    positions = [row["curriculum/position"] for row in uninterrupted.metrics()]
    assert len(set(positions)) > 1
    stopped = train("reason", "stopped", progress=Stopper(step), **settings)
    assert codes(stopped) == ["interrupted"]
    measured = (stopped.path / "start_values.json").read_bytes()
    resumed = train("reason", "stopped", resume=True, **settings)
    assert (resumed.path / "start_values.json").read_bytes() == measured
    assert_same_run(resumed, uninterrupted)


def test_a_run_may_be_stopped_and_resumed_many_times(train: Train, whole: Train) -> None:
    for step in (1, 3, 5):
        run = train("reason", "stopped", progress=Stopper(step), resume=step > 1)
        assert codes(run) == ["interrupted"]
    assert_same_run(train("reason", "stopped", resume=True), whole("reason"))


def test_a_second_ctrl_c_stops_at_once_and_the_last_checkpoint_is_resumed(
    train: Train, whole: Train, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("sft", "stopped", progress=Stopper(5, times=2))
    assert Run(tmp_path / "stopped").status["state"] == "interrupted"
    assert Run(tmp_path / "stopped").latest_checkpoint() == tmp_path / "stopped" / "checkpoints" / "checkpoint-4"
    assert_same_run(train("sft", "stopped", resume=True), whole("sft"))


def test_ctrl_c_in_the_last_step_changes_nothing(train: Train, whole: Train) -> None:
    run = train("sft", "stopped", progress=Stopper(7))
    assert run.ok
    assert differing_weights(run, whole("sft")) == []


def test_ctrl_c_before_the_first_checkpoint_resumes_from_the_start(train: Train, whole: Train, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("reason", "stopped", progress=Stopper(1, times=2))
    assert Run(tmp_path / "stopped").latest_checkpoint() is None
    assert_same_run(train("reason", "stopped", resume=True), whole("reason"))


def test_ctrl_c_belongs_to_others_again_after_a_run(train: Train) -> None:
    before = signal.getsignal(signal.SIGINT)
    train("sft", "stopped", progress=Stopper(1))
    assert signal.getsignal(signal.SIGINT) is before


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda folder: flip(folder / "model.safetensors"),
    "a flipped bit of the optimizer": lambda folder: flip(folder / "optimizer.pt"),
    "a lost file": lambda folder: (folder / "rng_state.pth").unlink(),
    "a save that was never finished": lambda folder: (folder / "manifest.json").unlink(),
    "half a manifest": lambda folder: os.truncate(folder / "manifest.json", 40),
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(train: Train, whole: Train, damage: str) -> None:
    run = train("reason", "stopped", progress=Stopper(4))
    newest = run.latest_checkpoint()
    assert newest is not None
    assert newest.name == "checkpoint-5"
    DAMAGES[damage](newest)
    assert run.latest_checkpoint() == run.checkpoints / "checkpoint-4"
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert_same_run(train("reason", "stopped", resume=True), whole("reason"))


def test_what_a_kill_inside_of_a_save_leaves_is_not_sealed_with_the_next_save(train: Train) -> None:
    run = train("sft", "stopped", progress=Stopper(4))
    left = run.checkpoints / "checkpoint-6" / ".tmpB7k0q2"
    left.parent.mkdir()
    left.touch()
    resumed = train("sft", "stopped", resume=True)
    assert verify_manifest(left.parent) is None
    assert not left.exists()
    assert resumed.ok


def test_without_a_sound_checkpoint_a_resume_starts_over(train: Train, whole: Train) -> None:
    run = train("reason", "stopped", progress=Stopper(2))
    for folder in run.checkpoints.iterdir():
        flip(folder / "model.safetensors")
    assert_same_run(train("reason", "stopped", resume=True), whole("reason"))


@pytest.mark.parametrize("verb", ["sft", "reason"])
def test_a_finished_run_may_be_resumed_and_stays_as_it_was(train: Train, whole: Train, verb: str) -> None:
    """So may one that was killed after its last step, before its model was saved."""
    settings = {"lr_scheduler_type": "constant"}
    again = train(verb, "again", **settings)
    shutil.rmtree(again.model)
    resumed = train(verb, "again", resume=True, **settings)
    assert resumed.ok
    assert resumed.verdict == whole(verb, **settings).verdict
    assert_same_run(resumed, whole(verb, **settings))


CHANGES = [{"learning_rate": 1e-3}, {"seed": 1}, {"data.level": 1}, {"max_steps": 9}, {"rewards": ["exact"]}]


def test_a_resume_with_other_settings_is_refused(train: Train) -> None:
    train("reason", "stopped", progress=Stopper(1))
    for change in CHANGES:
        with pytest.raises(RunDirectoryError, match="the settings differ") as caught:
            train("reason", "stopped", resume=True, **change)
        assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(("verb", "more"), [("align", {}), ("sft", {"lora": {"r": 2}})])
def test_a_model_that_was_replaced_under_a_run_is_refused(
    train: Train, tiny_model: str, tmp_path: Path, verb: str, more: dict[str, Any]
) -> None:
    """For DPO it is the reference, with adapters what they lie on."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "base"
    shutil.copytree(tiny_model, folder)
    settings = {"model": str(folder), **more}
    train(verb, "stopped", progress=Stopper(3), **settings)
    weights = folder / "model.safetensors"
    kept = weights.read_bytes()
    save_file({name: 0.9 * values for name, values in load_file(weights).items()}, weights, metadata={"format": "pt"})
    with pytest.raises(RunDirectoryError, match="the weights of the model are not those") as caught:
        train(verb, "stopped", resume=True, **settings)
    assert str(folder) in str(caught.value.given)
    weights.write_bytes(kept)
    assert train(verb, "stopped", resume=True, **settings).ok


def test_data_that_were_replaced_under_a_run_are_refused(train: Train, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    settings = {"data": str(rows), "data.holdout": 0}
    lines = [f'{{"prompt": "{number} + 1 =", "completion": "{number + 1}"}}\n' for number in range(16)]
    rows.write_text("".join(lines), encoding="utf-8")
    train("sft", "stopped", progress=Stopper(3), **settings)
    rows.write_text("".join(lines[:9]), encoding="utf-8")
    with pytest.raises(RunDirectoryError, match="the data are not those"):
        train("sft", "stopped", resume=True, **settings)


@pytest.mark.parametrize("half", ['[{"name": "held-out lo', "3\n", '[{"nome": 1}]\n'])
def test_half_a_measurement_of_the_start_is_found_at_the_start_and_made_again(
    train: Train, whole: Train, half: str
) -> None:
    stopper = Stopper(3)
    stopped = train("sft", "stopped", progress=stopper)
    (stopped.path / "measured_before.json").write_text(half)
    listener = Stopper(0)
    resumed = train("sft", "stopped", resume=True, progress=listener)
    assert any("measured_before.json is damaged" in note for note in listener.notes)
    assert resumed.results == whole("sft").results


def test_a_used_directory_is_refused_unless_told_what_to_do(train: Train) -> None:
    first = train("sft", "one")
    with pytest.raises(RunDirectoryError, match="not empty"):
        train("sft", "one")
    assert train("sft", "one", overwrite=True, learning_rate=1e-3).ok
    assert first.config["settings"]["trainer"]["learning_rate"] == 1e-3


@pytest.mark.parametrize("step", [3, 6])
def test_a_resumed_run_remembers_where_rewards_failed_before(train: Train, whole: Train, step: int) -> None:
    settings = {"rewards": ["REWARDS:now_and_then"], "per_device_train_batch_size": 16}
    uninterrupted = whole("reason", **settings)
    assert "rewards_failed" in codes(uninterrupted)
    train("reason", "stopped", progress=Stopper(step), **settings)
    assert_same_run(train("reason", "stopped", resume=True, **settings), uninterrupted)


def test_the_verdict_of_a_resumed_run_covers_the_steps_before(train: Train, tmp_path: Path) -> None:
    """Rewards differ in the first two steps and never again: both stop after three more."""
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{'vary' if i < 4 else 'flat'} {i}"}) + "\n" for i in range(16)))
    settings = {
        "data": str(path),
        "shuffle_dataset": False,
        "stop_when_flat": 3,
        "rewards": [f"{tmp_path / 'rewards.py'}:only_where_it_varies"],
    }
    uninterrupted = train("reason", "whole", **settings)
    train("reason", "stopped", progress=Stopper(4), **settings)
    resumed = train("reason", "stopped", resume=True, **settings)
    warnings = ["truncation", "stopped_flat", "not_measured"]
    assert (resumed.ok, codes(resumed)) == (uninterrupted.ok, codes(uninterrupted)) == (True, warnings)
    diagnostics = (
        "reward_rows",
        "reward_undefined",
        "reward_spread",
        "steps_flat",
        "stopped_flat",
        "findings",
        "mean_rewards",
        "largest_gradient",
        "steps_done",
        "steps_requested",
    )
    assert [resumed.verdict["diagnostics"][key] for key in diagnostics] == [
        uninterrupted.verdict["diagnostics"][key] for key in diagnostics
    ]


class StopperAtPhase(Stopper):
    """Presses Ctrl-C, so that the run ends at once, where a phase begins."""

    def __init__(self, name: str) -> None:
        super().__init__(step=-1)
        self.name = name

    def phase(self, name: str) -> None:
        if name == self.name:
            raise KeyboardInterrupt


def test_what_rewards_failed_on_before_the_first_checkpoint_is_remembered(train: Train) -> None:
    """Held-out rows are measured before training once; a resume does not measure them again."""
    settings = {
        "rewards": ["REWARDS:seldom"],
        "num_generations": 2,
        "eval": {"rows": 2, "samples": 48},
        "max_steps": 2,
    }
    uninterrupted = train("reason", "whole", **settings)
    for phase in ("measuring before", "training"):
        with pytest.raises(KeyboardInterrupt):
            train("reason", "stopped", progress=StopperAtPhase(phase), resume=phase == "training", **settings)
    resumed = train("reason", "stopped", resume=True, **settings)
    faults = uninterrupted.verdict["diagnostics"]["reward_faults"]
    assert faults[0]["failed"] > 0
    assert resumed.verdict["diagnostics"]["reward_faults"] == faults


def test_what_rewards_failed_on_in_evaluations_is_remembered(train: Train) -> None:
    """They count apart from training, and end a run above the same limit."""
    settings = {"rewards": ["REWARDS:seldom"], "eval": {"rows": 2, "samples": 8, "every": 2}, "max_steps": 6}
    uninterrupted = train("reason", "whole", **settings)
    train("reason", "stopped", progress=Stopper(2), **settings)
    resumed = train("reason", "stopped", resume=True, **settings)
    counts = [[row["reward_counts"]["seldom"] for row in run.evaluations()[1:]] for run in (resumed, uninterrupted)]
    assert [count["seen"] for count in counts[1]] == [16, 32, 48]
    assert counts[0] == counts[1]
