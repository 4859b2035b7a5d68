"""The verdict as text: what a run was judged by, and every reason with its hint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.core.runs import Run
from rlllm.report.markup import Html, tag
from rlllm.report.summary import SummaryRow, total_seconds
from rlllm.report.wording import count, duration, is_number, number


def verdict_block(verdict: Mapping[str, Any], status: Mapping[str, Any]) -> Html:
    """Headline, the facts behind it, and the reasons."""
    reasons = [reason for reason in verdict.get("reasons") or [] if isinstance(reason, Mapping)]
    checked = _checked(verdict.get("diagnostics") or {})
    return tag(
        "div",
        _headline(verdict, status),
        tag("ul", [tag("li", fact) for fact in checked], class_="checked") if checked else None,
        tag("ul", [_reason(reason) for reason in reasons], class_="reasons") if reasons else None,
        class_="verdict",
    )


def verdict_of_rows(ok: bool, rows: Sequence[SummaryRow], runs: Sequence[Run]) -> Html:
    """One line for a whole pipeline."""
    seconds = total_seconds(rows)
    failed = dict.fromkeys([*(row.stage for row in rows if not row.ok), *(run.path.name for run in runs if not run.ok)])
    every = f"All {len(runs)} runs count" if len(runs) != 1 else "The run counts"
    words = f"{every} as a success." if ok else f"Failed: {', '.join(failed)}."
    took = [tag("li", f"{duration(seconds)} in total")] if seconds else []
    return tag("div", _mark(ok, words), tag("ul", took, class_="checked") if took else None, class_="verdict")


def _headline(verdict: Mapping[str, Any], status: Mapping[str, Any]) -> Html:
    if "ok" in verdict:
        return _mark(bool(verdict["ok"]), "The run counts as a success." if verdict["ok"] else "The run failed.")
    state = status.get("state", "unknown")
    return tag("p", f"No verdict yet; the run's state is: {state}.", class_="headline")


def _mark(ok: bool, words: str) -> Html:
    sign = tag("span", "✓" if ok else "✕", aria_hidden="true", class_="sign")
    return tag("p", sign, words, class_="headline ok" if ok else "headline failed")


def _reason(reason: Mapping[str, Any]) -> Html:
    fatal = reason.get("fatal", True)
    hint = reason.get("hint")
    text, code = str(reason.get("text", "")), str(reason.get("code", ""))
    return tag(
        "li",
        tag("b", text[:1].upper() + text[1:]),
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
