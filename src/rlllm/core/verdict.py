"""The verdict: whether a run was carried out as asked, and what became of its main measure.

A stage collects `Diagnostics` while it runs; `judge` turns them and the outcome into named reasons. A rule on diagnostics is a
condition under which a run cannot have learned, whatever its log says; a rule on the outcome reads the interval of the measured
difference. What the shape of a curve says is found by `evals.monitors.dynamics` while the run trains, and handed on here.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rlllm.core.interval_text import interval_text
from rlllm.core.outcome import FAIL_ON, GOT_WORSE, NO_CHANGE, NOT_MEASURED, Outcome


def _all_changed(changed: bool | None, child: bool | None) -> bool:
    return bool(child) and changed is not False


def _largest(own: float | None, child: float | None) -> float:
    return max(own or 0.0, child or 0.0)


_OWN: Mapping[str, Any] = {"merge": None}
"""Metadata of a field that describes one run alone."""
_SUM: Mapping[str, Any] = {"merge": operator.add}
_LARGEST: Mapping[str, Any] = {"merge": _largest}
_ALL: Mapping[str, Any] = {"merge": _all_changed}
_ANY: Mapping[str, Any] = {"merge": operator.or_}
"""Metadata of fields that `Diagnostics.merge` combines with the same field of a child run."""


@dataclass(slots=True)
class Diagnostics:
    """What was observed in a run. A field that is None was not observed, and the rules that read it do not apply."""

    steps_requested: int = field(default=0, metadata=_SUM)
    steps_done: int = field(default=0, metadata=_SUM)
    rows: int = field(default=0, metadata=_OWN)
    rows_needed: int = field(default=1, metadata=_OWN)
    """Rows one optimizer step takes; fewer means that nothing can be trained."""
    rows_cut: int = field(default=0, metadata=_OWN)
    """Training rows that reach the trainer's `max_length`, where longer ones are cut."""
    rows_dropped: int = field(default=0, metadata=_OWN)
    """Training rows that the trainer leaves out: longer than `max_length`, or with nothing that trains before it."""
    rows_beyond_context: int = field(default=0, metadata=_OWN)
    """Training rows with more tokens than the model has positions."""
    template_findings: list[str] = field(default_factory=list, metadata=_OWN)
    """What the chat template does to training rows that generation does not, one sentence each."""
    prompts_beyond_context: int = field(default=0, metadata=_OWN)
    """Prompts after which the model's context has no room for a completion of the greatest length."""
    non_finite_steps: int = field(default=0, metadata=_SUM)
    """Logged steps whose loss or gradient norm was NaN or infinite."""
    rollbacks: list[dict[str, int]] = field(default_factory=list, metadata=_OWN)
    """Where the run went back after such a step: the `step`, and the checkpoint `to` whose step it went back."""
    largest_gradient: float | None = field(default=None, metadata=_LARGEST)
    """Largest gradient norm that was logged."""
    weights_changed: bool | None = field(default=None, metadata=_ALL)
    """Whether training changed the weights; of child runs, whether all of them did."""
    reward_rows: int | None = field(default=None, metadata=_OWN)
    """Completions that were scored."""
    reward_undefined: int = field(default=0, metadata=_OWN)
    """Completions no reward could judge (None or NaN from every one)."""
    reward_spread: float | None = field(default=None, metadata=_OWN)
    """Largest difference between two rewards inside any group of completions."""
    steps_compared: int = field(default=0, metadata=_OWN)
    """Logged steps that say in which groups all rewards were equal."""
    steps_flat: int = field(default=0, metadata=_OWN)
    """Those of them in which all rewards of every group were equal."""
    stopped_flat: int = field(default=0, metadata=_OWN)
    """Steps without any difference in reward after which `stop_when_flat` ended the run; 0 where it did not."""
    stopped_early: dict[str, int] | None = field(default=None, metadata=_OWN)
    """Where evaluations without a gain ended the run: `step`, `of` steps, the `best` step, and how many `evaluations` since."""
    mean_rewards: tuple[float, float] | None = field(default=None, metadata=_OWN)
    """Mean reward of the first and of the last logged step."""
    least_cut: float | None = field(default=None, metadata=_OWN)
    """Smallest share of a logged step's completions that ended at the length limit."""
    truncated_masked: bool = field(default=False, metadata=_OWN)
    """Whether completions that ended there are left out of the loss."""
    never_paid: list[dict[str, Any]] = field(default_factory=list, metadata=_OWN)
    """Rewards with a weight that were 0 or undefined for every completion: `reward`, completions `seen` and `undefined`."""
    mismatch_steps: int = field(default=0, metadata=_OWN)
    """Logged steps that say how far the sampler's probabilities are from the trainer's."""
    mismatch_outside: float | None = field(default=None, metadata=_OWN)
    """Mean over these of the share of tokens whose ratio of trainer to sampler is outside of 0.5 to 2."""
    mismatch_kl: float | None = field(default=None, metadata=_OWN)
    """Mean over these of the k3 estimate of KL(sampler || trainer), nats a token."""
    correction: str = field(default="", metadata=_OWN)
    """What `rollout_correction` does about it; empty where nothing."""
    pairs: int | None = field(default=None, metadata=_OWN)
    """Preference pairs."""
    identical_pairs: int = field(default=0, metadata=_OWN)
    """Preference pairs whose two completions are the same text."""
    resumed: list[str] = field(default_factory=list, metadata=_OWN)
    """What a resume did not find as the run had left it, one sentence each."""
    findings: list[dict[str, Any]] = field(default_factory=list, metadata=_OWN)
    """What monitors of training dynamics found, in that order: `monitor`, `onset` and `step` at which it was said, `evidence`,
    `cause`, `hint`, and whether it `ended` the run; see `evals.monitors.dynamics`."""
    control: bool = field(default=False, metadata=_OWN)
    """Whether the run is a control. What training does to its model is a result then, and no failure."""
    interrupted: bool = field(default=False, metadata=_ANY)
    """Stopped by Ctrl-C."""
    failure: str | None = field(default=None, metadata=_OWN)
    """The error that ended the run, if one did."""
    divergences: list[dict[str, Any]] = field(default_factory=list, metadata=_OWN)
    """How the training reward moved beside each monitored one; see `evals.monitors`."""
    alarms: list[dict[str, Any]] = field(default_factory=list, metadata=_OWN)
    """The first alarm of each monitored reward that did not follow the training reward; see `evals.monitors`."""
    gain_decomposition: list[dict[str, Any]] = field(default_factory=list, metadata=_OWN)
    """The parts of the gain of each reward; see `evals.monitors.gain_decomposition`."""
    reward_faults: list[dict[str, Any]] = field(default_factory=list, metadata=_OWN)
    """Every reward that failed on samples, or kept memory; see `rewards.composition.Composition.faults`."""
    controls: list[dict[str, Any]] = field(default_factory=list, metadata=_OWN)
    """What the true reward gained beyond each control run, where there were any; see `training.control_results`."""

    def merge(self, child: Diagnostics) -> None:
        """Add what a child run observed. Each field declares its rule; fields of one run alone stay as they are."""
        for item in fields(self):
            if rule := item.metadata["merge"]:
                setattr(self, item.name, rule(getattr(self, item.name), getattr(child, item.name)))

    @property
    def untrainable(self) -> bool:
        """True when the data alone rules out that anything is learned; then nothing heavy needs to be loaded."""
        return self.rows < self.rows_needed or (bool(self.pairs) and self.identical_pairs == self.pairs)


@dataclass(frozen=True, slots=True)
class Reason:
    """One named cause. `fatal` reasons make the run fail; others are warnings."""

    code: str
    text: str
    hint: str = ""
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended.

    Args:
        ok: whether no reason is fatal; the exit code is 0 then.
        carried_out: whether everything that was asked for was done, whatever became of the main measure.
        reasons: the root cause first.
        outcome: what became of the main measure; None for a verb that trains nothing.
        diagnostics: the facts behind the reasons.
    """

    ok: bool
    carried_out: bool
    reasons: list[Reason]
    outcome: Outcome | None = None
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


OUTCOME_REASONS: Mapping[str, str] = {
    GOT_WORSE: "got_worse",
    NO_CHANGE: "no_measurable_change",
    NOT_MEASURED: "not_measured",
}
"""State of an outcome -> code of the reason that names it; `improved` needs no reason."""


def judge(diagnostics: Diagnostics, outcome: Outcome | None = None, fail_on: Collection[str] = ()) -> Verdict:
    """All reasons that apply, the root cause first; `ok` when none of them is fatal.

    Of an interrupted run only that is said: what it has not learned yet, it may still learn.

    Args:
        diagnostics: what was observed.
        outcome: of the main measure; None for a verb that trains nothing.
        fail_on: keys of `core.outcome.FAIL_ON`: outcomes that are fatal beside `got worse`.
    """
    rules = (_failure, _interrupted) if diagnostics.interrupted else _RULES
    reasons = [reason for rule in rules if (reason := rule(diagnostics)) is not None]
    if not diagnostics.interrupted:
        reasons = _with_findings(reasons, diagnostics.findings)
        reasons = _with_outcome(reasons, outcome, diagnostics.control, {FAIL_ON[name] for name in fail_on})
    fatal = {reason.code for reason in reasons if reason.fatal}
    carried_out = fatal <= set(OUTCOME_REASONS.values())
    return Verdict(not fatal, carried_out, reasons, outcome, asdict(diagnostics))


def _with_findings(reasons: list[Reason], findings: Sequence[Mapping[str, Any]]) -> list[Reason]:
    """The reasons and what monitors found. What ended the run is its root cause; the rest are warnings."""
    found = [
        Reason(
            row["monitor"],
            f"from step {row['onset']} on: {row['evidence']}; {row['cause']}",
            row["hint"] + (f"; --allow {row['monitor']} trains on" if row["ended"] else ""),
            fatal=row["ended"],
        )
        for row in findings
    ]
    return sorted(
        [*found, *reasons], key=lambda reason: (not reason.fatal, reason.code not in ("error", "interrupted"))
    )


def _with_outcome(
    reasons: list[Reason], outcome: Outcome | None, control: bool, fatal: Collection[str]
) -> list[Reason]:
    """The reasons and that of the outcome. A run that failed does not also hear that nothing came of it."""
    if outcome is None:
        return reasons
    failed = any(reason.fatal for reason in reasons)
    if outcome.state == GOT_WORSE:
        return sorted([*reasons, _got_worse(outcome, fatal=not control)], key=lambda reason: not reason.fatal)
    if failed or outcome.state not in OUTCOME_REASONS:
        return reasons
    describe = _no_measurable_change if outcome.state == NO_CHANGE else _not_measured
    return [*reasons, describe(outcome, fatal=outcome.state in fatal and not control)]


def _got_worse(outcome: Outcome, *, fatal: bool) -> Reason:
    return Reason(
        OUTCOME_REASONS[GOT_WORSE],
        f"{outcome.measure} got worse on the held-out rows: {_before_after(outcome)}",
        "lower the learning rate, or take fewer steps; what it writes now: rlllm runs show RUN --samples last",
        fatal,
    )


def _no_measurable_change(outcome: Outcome, *, fatal: bool) -> Reason:
    return Reason(
        OUTCOME_REASONS[NO_CHANGE],
        f"{outcome.measure} did not change measurably: {_before_after(outcome)}",
        "more steps or a higher learning rate change more; more held-out rows (data.holdout, eval.rows) show smaller changes; "
        "--fail-on no-gain makes this exit 1",
        fatal,
    )


def _not_measured(outcome: Outcome, *, fatal: bool) -> Reason:
    text, hint = "nothing was held out", "hold out rows and measure on them: data.holdout=128 eval.rows=128"
    if outcome.measure and outcome.after is None:
        text = f"none of the held-out items could be judged for {outcome.measure}"
        hint = "see whether the held-out rows have what the reward reads, such as their answers"
    elif outcome.measure:
        text = f"too few held-out rows for an interval of {outcome.measure}"
    return Reason(OUTCOME_REASONS[NOT_MEASURED], f"whether training helped was not measured: {text}", hint, fatal)


def _before_after(outcome: Outcome) -> str:
    ends = " -> ".join(interval_text(end, ".3g") for end in (outcome.before, outcome.after))
    return f"{ends}, change {outcome.change}"


def _failure(diagnostics: Diagnostics) -> Reason | None:
    return Reason("error", diagnostics.failure) if diagnostics.failure else None


def _interrupted(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.interrupted:
        return None
    return Reason("interrupted", f"stopped at step {diagnostics.steps_done} of {diagnostics.steps_requested}")


def _too_little_data(diagnostics: Diagnostics) -> Reason | None:
    if diagnostics.rows >= diagnostics.rows_needed:
        return None
    if diagnostics.rows_dropped:
        return Reason(
            "too_little_data",
            f"{diagnostics.rows} training rows are left, and {diagnostics.rows_dropped:,} were left out as too long; "
            f"one optimizer step takes {diagnostics.rows_needed}",
            "raise max_length, or give shorter rows",
        )
    return Reason(
        "too_little_data",
        f"{diagnostics.rows} training rows, but one optimizer step takes {diagnostics.rows_needed}",
        "add rows, or lower per_device_train_batch_size or gradient_accumulation_steps",
    )


def _reward_undefined(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.reward_rows or diagnostics.reward_undefined < diagnostics.reward_rows:
        return None
    return Reason(
        "reward_undefined",
        f"no reward could judge any of {diagnostics.reward_rows} completions (all None or NaN)",
        "look at samples.jsonl, and try the reward on one of its rows",
    )


_TASK_HINT = "the task is too easy or too hard for this model, or the reward ignores the completion: see samples.jsonl"
_CUT_HINT = (
    "every completion ended at the length limit, so that none may hold an answer: raise rollout.max_new_tokens, or see whether "
    "the model ends its turns"
)


def _reward_flat(diagnostics: Diagnostics) -> Reason | None:
    if (
        diagnostics.reward_spread is None
        or diagnostics.reward_spread > 0
        or diagnostics.reward_undefined == diagnostics.reward_rows
    ):
        return None
    elsewhere = diagnostics.largest_gradient is not None and diagnostics.largest_gradient > 0
    return Reason(
        "constant_reward",
        "every group of completions got one and the same reward, so "
        + (
            "nothing was learned from it: gradients came from a bonus or a KL term"
            if elsewhere
            else "no step had a gradient"
        ),
        _CUT_HINT if diagnostics.least_cut == 1 else _TASK_HINT,
    )


def _identical_pairs(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.pairs or not diagnostics.identical_pairs:
        return None
    everything = diagnostics.identical_pairs == diagnostics.pairs
    return Reason(
        "identical_pairs",
        f"chosen equals rejected in {diagnostics.identical_pairs} of {diagnostics.pairs} pairs",
        "such a pair teaches nothing (white space is no difference); check which columns are mapped to chosen and rejected",
        fatal=everything,
    )


def _non_finite(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.non_finite_steps:
        return None
    return Reason(
        "non_finite",
        f"loss or gradient was NaN or infinite at {diagnostics.non_finite_steps} logged steps"
        + (f", again after the run had gone back {len(diagnostics.rollbacks)} times" if diagnostics.rollbacks else ""),
        "lower the learning rate; on a GPU try bf16 instead of fp16; the batch stands in nonfinite/",
    )


def _rolled_back(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.rollbacks or diagnostics.non_finite_steps:
        return None
    steps = ", ".join(f"{row['step']} (back to {row['to']})" for row in diagnostics.rollbacks)
    return Reason(
        "rolled_back",
        f"loss or gradient was NaN or infinite at step {steps}; the run went on from the checkpoint, with other rows",
        "the rows of that step stand in nonfinite/; lower the learning rate where it comes again",
        fatal=False,
    )


def _no_gradient(diagnostics: Diagnostics) -> Reason | None:
    if (
        diagnostics.largest_gradient is None
        or diagnostics.largest_gradient > 0
        or not math.isfinite(diagnostics.largest_gradient)
    ):
        return None
    masked = diagnostics.least_cut == 1 and diagnostics.truncated_masked
    return Reason(
        "no_gradient",
        "the gradient was exactly zero at every logged step",
        f"mask_truncated_completions=true left every completion out: {_CUT_HINT}"
        if masked
        else "check learning signal and masks",
    )


def _weights_unchanged(diagnostics: Diagnostics) -> Reason | None:
    if diagnostics.weights_changed is not False:
        return None
    none_asked = not diagnostics.steps_requested
    return Reason(
        "weights_unchanged",
        "the model's weights are the ones it started with" + (": no step was asked for" if none_asked else ""),
        "raise max_steps or num_train_epochs" if none_asked else "is the learning rate zero?",
    )


def _overoptimised(diagnostics: Diagnostics) -> Reason | None:
    alarms = [change for change in diagnostics.divergences if change["alarm"]]
    if not alarms:
        return None
    rose = f"{alarms[0]['training_reward']}, which the run maximises, rose by {_moved(alarms[0]['training_change'])}"
    fell = " and ".join(f"{alarm['monitored_reward']} fell by {_moved(alarm['monitored_change'])}" for alarm in alarms)
    return Reason(
        "overoptimised",
        f"{rose} from the first to the last fifth of the steps, while {fell}",
        "the policy exploits its reward: hold it closer to the reference (a larger beta), train fewer steps, or score with "
        "an ensemble of reward models (train-rm method=ensemble)",
        fatal=False,
    )


def _monitored_reward_left_behind(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.alarms:
        return None
    return Reason(
        "monitored_reward_left_behind",
        "; ".join(alarm_text(alarm) for alarm in diagnostics.alarms),
        "see what is paid for: rlllm runs show RUN --samples best; and how a reward would have trained instead: "
        "rlllm rewards replay RUN --with REWARD",
        fatal=False,
    )


def alarm_text(alarm: Mapping[str, Any]) -> str:
    """One alarm of `Diagnostics.alarms` in words."""
    rise, monitored = alarm["training_change"], alarm["monitored_change"]
    return (
        f"at step {alarm['step']:g} {alarm['training_reward']}, which the run maximises, had risen by {_moved(rise)}, and "
        f"{alarm['monitored_reward']}, which is only monitored, had not followed: " + interval_text(monitored, "+.3g")
    )


def _rewards_failed(diagnostics: Diagnostics) -> Reason | None:
    failed = [fault for fault in diagnostics.reward_faults if fault["failed"]]
    if not failed:
        return None
    return Reason(
        "rewards_failed",
        "; ".join(
            f"the reward {fault['reward']} failed on {fault['failed']} of {fault['seen']} completions; "
            f"first it {fault['first']}"
            for fault in failed
        ),
        "these completions had no score; they stand in quarantine.jsonl, each with the reason",
        fatal=False,
    )


def _rewards_grew(diagnostics: Diagnostics) -> Reason | None:
    grown = [fault for fault in diagnostics.reward_faults if fault["grown"]]
    if not grown:
        return None
    return Reason(
        "reward_memory",
        "; ".join(
            f"the process grew by {fault['grown'] / 2**20:,.0f} MiB while the reward {fault['reward']} scored "
            f"{fault['seen']} completions"
            for fault in grown
        ),
        "does it keep what it has seen? bound its caches",
        fatal=False,
    )


def _rows_cut(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.rows_cut:
        return None
    return Reason(
        "rows_cut",
        f"{diagnostics.rows_cut:,} of {diagnostics.rows:,} training rows reach max_length, "
        f"and what they have beyond it was not trained on",
        "raise --max_length, or look at the rows: rlllm data show DATA --tokens",
        fatal=False,
    )


def _rows_dropped(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.rows_dropped or diagnostics.rows < diagnostics.rows_needed:
        return None
    return Reason(
        "rows_dropped",
        f"{diagnostics.rows_dropped:,} of {diagnostics.rows + diagnostics.rows_dropped:,} training rows were left out: "
        "max_length leaves nothing of them to learn from",
        "raise --max_length, or look at the rows: rlllm data show DATA --tokens",
        fatal=False,
    )


def _rows_beyond_context(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.rows_beyond_context:
        return None
    return Reason(
        "rows_beyond_context",
        f"{diagnostics.rows_beyond_context:,} of {diagnostics.rows:,} training rows are longer than the model's context; "
        "what it computes of positions beyond it was never trained",
        "lower --max_length to the context, or take a model with a longer one",
        fatal=False,
    )


def _template(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.template_findings:
        return None
    return Reason(
        "template",
        "; ".join(diagnostics.template_findings),
        "see what trains: rlllm data show DATA --tokens --model MODEL",
        fatal=False,
    )


def _prompts_beyond_context(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.prompts_beyond_context:
        return None
    return Reason(
        "prompts_beyond_context",
        f"{diagnostics.prompts_beyond_context:,} of {diagnostics.rows:,} prompts "
        f"leave the model's context no room for a whole completion",
        "lower rollout.max_new_tokens, or leave these prompts out",
        fatal=False,
    )


def _moved(change: Mapping[str, Any]) -> str:
    """Size of a change and its interval, both without sign."""
    low, high = sorted((abs(change["low"]), abs(change["high"])))
    return interval_text({"estimate": abs(change["estimate"]), "low": low, "high": high}, ".3g")


def _no_gain_over_control(diagnostics: Diagnostics) -> Reason | None:
    idle = [control for control in diagnostics.controls if control["answer"] == "no gain"]
    if not idle:
        return None
    controls = " and ".join(control["phrase"] for control in idle)
    return Reason(
        "no_gain_over_control",
        f"no gain over {controls}: by its interval the true reward brings less than half of what the run gained",
        "what the run gains comes from elsewhere than its reward",
        fatal=False,
    )


def _gain_over_control_unclear(diagnostics: Diagnostics) -> Reason | None:
    unclear = [control for control in diagnostics.controls if control["answer"] == "cannot tell"]
    if not unclear:
        return None
    controls = " and ".join(control["phrase"] for control in unclear)
    return Reason(
        "gain_over_control_unclear",
        f"cannot tell whether the true reward adds anything over {controls}: its interval holds 0 and half of the run's gain",
        "more seeds or held-out prompts give a sharper answer",
        fatal=False,
    )


def _mean_rewards(diagnostics: Diagnostics) -> str:
    if diagnostics.mean_rewards is None:
        return ""
    first, last = diagnostics.mean_rewards
    return f"; the mean reward was {first:.3g} in the first logged step and {last:.3g} in the last"


def _stopped_flat(diagnostics: Diagnostics) -> Reason | None:
    if not _stopped_after_signal(diagnostics):
        return None
    return Reason(
        "stopped_flat",
        f"stopped at step {diagnostics.steps_done} of {diagnostics.steps_requested}: the last {diagnostics.stopped_flat} "
        f"steps had no difference in reward{_mean_rewards(diagnostics)}",
        "stop_when_flat=0 trains on",
        fatal=False,
    )


def _stopped_early(diagnostics: Diagnostics) -> Reason | None:
    early = diagnostics.stopped_early
    if early is None:
        return None
    best = f"that of step {early['best']}" if early["best"] else "that of the start"
    return Reason(
        "stopped_early",
        f"ended at step {early['step']} of {early['of']}: none of the last {early['evaluations']} evaluations of held-out rows "
        f"was better than {best}",
        "eval.stop_after=0 trains on; a small gain may be hidden by chance: more rows (eval.during_rows) show smaller ones",
        fatal=False,
    )


def _stopped_after_signal(diagnostics: Diagnostics) -> bool:
    """Whether `stop_when_flat` ended a run that did have a signal before; one that never had any has failed."""
    return diagnostics.stopped_flat > 0 and diagnostics.reward_spread != 0


def _reward_never_paid(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.never_paid:
        return None
    return Reason(
        "reward_never_paid",
        "; ".join(_never_paid_text(row) for row in diagnostics.never_paid),
        "only the other rewards trained the model: does the answer column fit (--columns), and what did the reward read? "
        "rlllm runs show RUN --samples last",
        fatal=False,
    )


def _never_paid_text(row: Mapping[str, Any]) -> str:
    if row["undefined"] == row["seen"]:
        return f"the reward {row['reward']} could judge none of {row['seen']:,} completions"
    zeros = f"{row['seen'] - row['undefined']:,} of {row['seen']:,} completions got 0"
    undefined = f", and {row['undefined']:,} could not be judged" if row["undefined"] else ""
    return f"the reward {row['reward']} never paid: {zeros}{undefined}"


def _steps_missing(diagnostics: Diagnostics) -> Reason | None:
    ended = any(row["ended"] for row in diagnostics.findings)
    if diagnostics.steps_done >= diagnostics.steps_requested or _stopped_after_signal(diagnostics) or ended:
        return None
    return Reason("steps_missing", f"{diagnostics.steps_done} of {diagnostics.steps_requested} requested steps ran")


_MISMATCH = 0.02
"""Share of tokens on which sampler and trainer disagree above which a run is warned about."""


def _sampler_mismatch(diagnostics: Diagnostics) -> Reason | None:
    if diagnostics.mismatch_outside is None or diagnostics.mismatch_outside <= _MISMATCH:
        return None
    done = f"corrected by {diagnostics.correction}" if diagnostics.correction else "not corrected"
    look = "see whether new weights reach the sampler and in which number format; top_k and top_p make another policy of it"
    return Reason(
        "sampler_mismatch",
        f"sampler and trainer disagree: {diagnostics.mismatch_outside:.1%} of the tokens have a ratio outside of 0.5 to 2 "
        f"(KL {diagnostics.mismatch_kl or 0.0:.2g} nats a token), {done}",
        look
        if diagnostics.correction
        else f"{look}; rollout_correction.rollout_is=token weights the loss by the ratio",
        fatal=False,
    )


def _resumed(diagnostics: Diagnostics) -> Reason | None:
    if not diagnostics.resumed:
        return None
    return Reason(
        "resumed_with_changes", "; ".join(diagnostics.resumed), "lineage.json has what was there before", False
    )


_RULES = (
    _failure,
    _too_little_data,
    _reward_undefined,
    _reward_flat,
    _identical_pairs,
    _non_finite,
    _rolled_back,
    _no_gradient,
    _weights_unchanged,
    _steps_missing,
    _stopped_flat,
    _stopped_early,
    _reward_never_paid,
    _sampler_mismatch,
    _resumed,
    _template,
    _rows_dropped,
    _rows_cut,
    _rows_beyond_context,
    _prompts_beyond_context,
    _rewards_failed,
    _rewards_grew,
    _overoptimised,
    _monitored_reward_left_behind,
    _no_gain_over_control,
    _gain_over_control_unclear,
)
