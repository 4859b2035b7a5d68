"""The verdict as text: what became of the main measure, what a run was judged by, and every reason with its hint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.core.outcome import IMPROVED, Outcome, summary_of
from rlllm.core.runs import Run
from rlllm.report.markup import Html, tag
from rlllm.report.summary import SummaryRow, total_seconds
from rlllm.report.wording import count, duration, is_number, number


def verdict_block(verdict: Mapping[str, Any], state: str) -> Html:
    """Headline, the facts behind it, and the reasons."""
    reasons = [reason for reason in verdict.get("reasons") or [] if isinstance(reason, Mapping)]
    checked = _checked(verdict.get("diagnostics") or {})
    return tag(
        "div",
        _headline(verdict, state),
        tag("ul", [tag("li", fact) for fact in checked], class_="checked") if checked else None,
        tag("ul", [_reason(reason) for reason in reasons], class_="reasons") if reasons else None,
        class_="verdict",
    )


def verdict_of_rows(ok: bool, rows: Sequence[SummaryRow], runs: Sequence[Run], closed: str | None = None) -> Html:
    """What became of each run of a whole pipeline, or which stages failed; `closed` is the step whose gate did not hold."""
    seconds = total_seconds(rows)
    worse = {run.path.name for run in runs if run.carried_out and not run.ok}
    stopped = [*(row.stage for row in rows if not row.ok), *(run.path.name for run in runs if not run.ok)]
    failed = [name for name in dict.fromkeys(stopped) if name not in worse]
    outcomes = _capital(summary_of({run.path.name: run.outcome for run in runs}))
    carried_out = f"All {len(runs)} runs were carried out" if len(runs) != 1 else "The run was carried out"
    said = f"Failed: {', '.join(failed)}" if failed else outcomes or carried_out
    facts = [
        *([carried_out] if outcomes and not failed else []),
        *([f"{duration(seconds)} in total"] if seconds else []),
    ]
    if closed is not None and not failed:
        said = f"Stopped by the gate behind {closed}"
        facts = [outcomes, *facts] if outcomes else facts
    below = tag("ul", [tag("li", fact) for fact in facts], class_="checked") if facts else None
    return tag("div", _mark(_GOOD if ok else _BAD, f"{said}."), below, class_="verdict")


_GOOD, _OPEN, _BAD = ("ok", "✓"), ("open", "○"), ("failed", "✕")
"""Class and sign of a headline."""


def _headline(verdict: Mapping[str, Any], state: str) -> Html:
    """The outcome, unless something kept the run from being carried out."""
    if "ok" not in verdict:
        return tag("p", f"No verdict yet; the run's state is: {state}.", class_="headline")
    outcome = Outcome(**verdict["outcome"]) if verdict.get("outcome") else None
    if not verdict["ok"] and not verdict.get("carried_out"):
        return _mark(_BAD, f"The run was {state}." if state in ("interrupted", "killed") else "The run failed.")
    if outcome is None:
        return _mark(_GOOD, "The run was carried out.")
    kind = _BAD if not verdict["ok"] else _GOOD if outcome.state == IMPROVED else _OPEN
    return _mark(kind, f"{_capital(str(outcome))}.")


def _mark(kind: tuple[str, str], words: str) -> Html:
    name, sign = kind
    return tag("p", tag("span", sign, aria_hidden="true", class_="sign"), words, class_=f"headline {name}")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _reason(reason: Mapping[str, Any]) -> Html:
    fatal = reason.get("fatal", True)
    hint = reason.get("hint")
    text, code = str(reason.get("text", "")), str(reason.get("code", ""))
    return tag(
        "li",
        tag("b", _capital(text)),
        tag("code", code if fatal else f"{code}, a warning"),
        tag("p", str(hint)) if hint else None,
    )


def _checked(facts: Mapping[str, Any]) -> list[str]:
    """The facts a run was judged by, one phrase each."""
    phrases = []
    if facts.get("steps_requested"):
        phrases.append(f"{facts.get('steps_done', 0):,} of {count(facts['steps_requested'], 'step')} ran")
    if facts.get("weights_changed") is not None:
        phrases.append("weights moved" if facts["weights_changed"] else "weights did not move")
    if is_number(facts.get("largest_gradient")):
        phrases.append(f"gradient norm up to {number(facts['largest_gradient'])}")
    if is_number(facts.get("reward_spread")):
        phrases.append(f"reward spread within a group up to {number(facts['reward_spread'])}")
    if facts.get("pairs"):
        phrases.append(f"{count(facts['pairs'], 'preference pair')}")
    if facts.get("reward_rows"):
        phrases.append(f"{count(facts['reward_rows'], 'completion')} scored")
    if facts.get("non_finite_steps"):
        phrases.append(f"{count(facts['non_finite_steps'], 'step')} with NaN or infinity")
    return phrases
