"""The page of several runs: from run directories written by hand, judged by parsing it."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rlllm.report as report
from rlllm.core.runs import Run, append_jsonl, write_json
from rlllm.report import render_comparison, render_run, short_names
from rlllm.report.overlay import pass_at_k, shared_curves
from rlllm.report.problems import HELD_OUT, paired_rows, problem_map
from rlllm.report.series import MAX_RUNS, series_of
from rlllm.report.wording import crossover

HOSTILE = "</pre></style><script>alert(1)</script><img src=x onerror=alert(2)> \"'&amp; \x00\x1b[31m \u202eabc"
PARTS = {
    "status.json": None,
    "config.json": "Settings that differ",
    "lineage.json": "Lineage",
    "metrics.jsonl": "Learning curves",
    "samples.jsonl": "Rewards by source",
    "before_after.jsonl": None,
    "items.jsonl": None,
    "results.json": "Evaluations",
}


class Page(HTMLParser):
    """Tags, words and attributes of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice on {name}"
        self.tags.append((name, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


def interval(estimate: float, spread: float = 0.05) -> dict[str, Any]:
    return {"estimate": estimate, "low": estimate - spread, "high": estimate + spread, "n": 8, "method": "bootstrap"}


def make(path: Path, shift: float = 0.0, words: str = "sums") -> Run:
    """A run with every file that the page reads; `words` go wherever text of a model or a user goes."""
    settings = {"model": words, "method": "grpo", "output_dir": str(path), "trainer": {"learning_rate": shift}}
    write_json(path / "config.json", {"stage": "reason", "command": f"rlllm reason {words}", "settings": settings})
    write_json(path / "lineage.json", {"model": {"weights": f"{words}{shift}"}, "data": "same"})
    write_json(path / "env.json", {"device": "cpu"})
    write_json(path / "verdict.json", {"ok": shift < 0.5})
    run = Run(path)
    run.set_status("done")
    rows = [{"step": n, "time": 2.0 * n, "num_tokens": 100 * n, "reward": shift + n / 20} for n in range(1, 21)]
    append_jsonl(path / "metrics.jsonl", [{**row, "kl": math.nan, words: 1.0} for row in rows])
    rewards = {words: {"value": shift}, "broken": {"value": None, "error": words}}
    append_jsonl(path / "samples.jsonl", [{"step": n, "reward": shift, "rewards": rewards} for n in range(1, 21)])
    scores = [[0.0, shift], [1.0, 1.0 - shift], [0.0, 0.0], [1.0, 1.0]]
    items = [
        {
            "task": words,
            "id": f"{n}",
            "prompt": f"{words} {n}",
            "answer": words,
            "scores": row,
            "completions": [words] * 2,
        }
        for n, row in enumerate(scores)
    ]
    append_jsonl(path / "items.jsonl", items)
    after = [{"completion": words, "score": shift}]
    append_jsonl(path / "before_after.jsonl", [{"prompt": words, "answer": "1", "before": after, "after": after}])
    curve = [{"k": k, **interval(0.4 + shift / 2 + k / 20)} for k in (1, 2, 4)]
    values = {"pass@1": interval(0.5 + shift / 4), "pass@2": interval(0.6)}
    task = {"hash": "a", "metric": "pass", "items": 4, "samples": 2, "values": values, "curve": curve}
    measure = {"name": "pass@1", "before": interval(0.3), "after": interval(0.5), "difference": interval(0.2)}
    write_json(path / "results.json", {"tasks": {words: task}, "measures": [measure]})
    return run


def contest(b: Run, task: str = "sums") -> dict[str, Any]:
    change = {**interval(0.12), "p_value": 0.004}
    none = {"estimate": None, "low": None, "high": None, "up_to": 2, "share": 0.1}
    found = {
        "task": task,
        "items": 4,
        "before": interval(0.5),
        "after": interval(0.62),
        "difference": change,
        "gained": ["0"],
        "lost": [],
        "p_holm": 0.008,
        "crossover_k": none,
    }
    return {"b": str(b.path), "tasks": [{**found, "minimum_detectable_effect": 0.0825}]}


def render(folder: Path, words: str = "sums") -> str:
    runs = [make(folder / name, shift, words) for name, shift in (("one", 0.0), ("two", 0.6), ("three", 0.4))]
    contests = [contest(run, words) for run in runs[1:]]
    return render_comparison(words, runs, contests, [f"two is better on {words}"], [f"rlllm report {words}"])


def test_a_comparison_has_all_its_parts(tmp_path: Path) -> None:
    page = Page(render(tmp_path))
    for title in (
        *("Evaluations", "Before and after training", "Learning curves", "Rewards by source", "Costs"),
        *("Completions side by side", "Settings that differ", "Lineage", "Run it again"),
    ):
        assert title in page.text
    assert "two is better on sums" in page.text
    for name in ("A one", "B two", "C three"):
        assert name in page.text
    assert "+0.12 +0.07 to +0.17, p = 0.008" in page.text
    assert "none up to 2" in page.text
    assert "0.083" in page.text
    assert "trainer.learning_rate" in page.text
    assert "output_dir" not in page.text
    assert "rlllm report sums rlllm reason sums" in page.text


def test_every_drawing_is_described_and_marks_each_run_with_its_letter(tmp_path: Path) -> None:
    source = render(tmp_path)
    images = [attrs for name, attrs in Page(source).tags if name == "svg" and attrs.get("role") == "img"]
    described = [attrs.get("aria-label") or "" for attrs in images]
    assert all(described)
    starts = (
        "sums, pass@k: A 0.45 at k = 1 to 0.60 at k = 4; B",
        "Reward over steps: A from",
        "B against A, 4 problems",
    )
    for start in starts:
        assert [label for label in described if label.startswith(start)], start
    assert {"letter s0", "letter s1", "letter s2"} <= {*Page(source).values("class")}


def test_text_of_models_and_users_never_acts_on_a_comparison(tmp_path: Path) -> None:
    source = render(tmp_path, HOSTILE)
    page = Page(source)
    assert {name for name, _ in page.tags}.isdisjoint({"script", "img", "link", "iframe"})
    assert "<script>alert(1)</script>" in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", source)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name in ("src", "style")]


def test_links_of_a_comparison_lead_somewhere_and_headings_never_skip_a_level(tmp_path: Path) -> None:
    page = Page(render(tmp_path))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {f"#{name}" for name in ids} >= {*page.values("href")}
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("missing", PARTS)
def test_what_no_run_has_is_left_out_of_a_comparison(missing: str, tmp_path: Path) -> None:
    runs = [make(tmp_path / "one"), make(tmp_path / "two", 0.6)]
    for run in runs:
        (run.path / missing).unlink()
    page = Page(render_comparison("title", runs))
    left_out = PARTS[missing]
    assert left_out is None or left_out not in page.text


def test_empty_directories_still_make_a_page(tmp_path: Path) -> None:
    assert "rlllm comparison" in Page(render_comparison("title", [Run(tmp_path / "a"), Run(tmp_path / "b")])).text


def test_the_same_runs_give_the_same_comparison(tmp_path: Path) -> None:
    runs = [make(tmp_path / "one"), make(tmp_path / "two", 0.6)]
    assert render_comparison("title", runs) == render_comparison("title", runs)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/before", "runs/after"], ["before", "after"]),
        (["runs/seed-0/eval", "runs/seed-1/eval"], ["seed-0/eval", "seed-1/eval"]),
        (["a/x", "b/x", "y"], ["a/x", "b/x", "y"]),
        (["same", "same"], ["same", "same"]),
        ([".", "../after"], [".", "after"]),
        ([], []),
    ],
)
def test_a_run_is_called_by_the_last_parts_of_its_path(paths: list[str], names: list[str]) -> None:
    assert short_names([Path(path) for path in paths]) == names


def test_every_run_of_a_page_has_a_line_style_of_its_own() -> None:
    css = Path(report.__file__).with_name("style.css").read_text(encoding="utf-8")
    dashes = re.findall(r"^\.s\d \{ --tone: var\(--s\d\); --dash: (.*?); \}", css, re.M)
    assert len(dashes) == len(set(dashes)) == MAX_RUNS
    assert [one.kind for one in series_of([Run(Path(f"{n}")) for n in range(MAX_RUNS)])] == [
        f"s{n}" for n in range(MAX_RUNS)
    ]


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
@pytest.mark.parametrize("number", range(MAX_RUNS))
def test_colours_of_runs_can_be_read_as_text(scheme: int, number: int) -> None:
    css = Path(report.__file__).with_name("style.css").read_text(encoding="utf-8")
    ink = re.findall(rf"--s{number}: (#[0-9a-f]{{6}})", css)[scheme]
    ground = ("#ffffff", "#14181b", "#ffffff")[scheme]
    light, dark = sorted((luminance(colour) for colour in (ink, ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_problems_are_paired_by_task_and_id_and_training_runs_by_their_held_out_prompts(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two", 0.6)
    append_jsonl(one.path / "items.jsonl", [{"task": "sums", "id": "only here", "scores": [1.0]}])
    rows = paired_rows(one, two)
    assert {task: len(found) for task, found in rows.items()} == {"sums": 4, HELD_OUT: 1}
    assert [side["score"] for side in rows["sums"][0]["after"]] == [0.0, 0.6]


GAINS: list[tuple[list[tuple[float, float]], str]] = [
    ([(0.0, 1.0), (0.4, 0.5), (0.5, 0.4)], "2 gained, 1 lost, 0 solved by both, 0 by neither"),
    ([(1.0, 0.5), (0.0, 0.49)], "0 gained, 0 lost, 1 solved by both, 1 by neither"),
]


@pytest.mark.parametrize(("scores", "words"), GAINS)
def test_a_problem_is_solved_from_one_half_on(scores: list[tuple[float, float]], words: str) -> None:
    drawn = problem_map([both(*pair) for pair in scores], "A", "B", "B against A")
    assert drawn is not None
    assert words in drawn


@pytest.mark.parametrize("scores", [[], [(0.0, 7.0)], [(None, 1.0)], [(math.nan, 1.0)]])
def test_scores_that_are_no_rates_are_not_drawn(scores: list[Any]) -> None:
    assert problem_map([both(*pair) for pair in scores], "A", "B", "B against A") is None


def both(old: float | None, new: float | None) -> dict[str, Any]:
    return {"before": [{"completion": "", "score": old}], "after": [{"completion": "", "score": new}]}


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=6), min_size=1, max_size=MAX_RUNS))
def test_letters_at_the_ends_of_lines_never_collide(curves: list[list[float]]) -> None:
    lines = [
        ("ABCDEFGH"[n], f"s{n}", [{"k": 2**power, "estimate": value} for power, value in enumerate(curve)])
        for n, curve in enumerate(curves)
    ]
    drawn = pass_at_k("task", lines)
    assert drawn is not None
    places = sorted(
        (float(attrs["y"] or 0), float(attrs["x"] or 0))
        for name, attrs in Page(drawn).tags
        if name == "text" and (attrs.get("class") or "").startswith("letter")
    )
    assert len(places) == len(curves)
    assert all(low - high > 10.8 for (high, _), (low, _) in pairwise(places))


@pytest.mark.parametrize("curve", [[], [{"k": 1, "estimate": 0.5}], [{"k": 1, "estimate": None}, {"k": 2}], [{}]])
def test_a_curve_of_less_than_two_points_is_not_drawn(curve: list[dict[str, Any]]) -> None:
    assert pass_at_k("task", [("A", "s0", curve)]) is None


def test_a_metric_that_one_run_alone_logged_has_no_shared_curve(tmp_path: Path) -> None:
    runs = [Run(tmp_path / name) for name in ("one", "two")]
    for run in runs:
        run.path.mkdir()
    append_jsonl(runs[0].path / "metrics.jsonl", [{"step": n, "reward": n, "loss": n} for n in range(3)])
    append_jsonl(runs[1].path / "metrics.jsonl", [{"step": n, "loss": n} for n in range(9)])
    drawn = shared_curves(series_of(runs))
    assert drawn is not None
    assert Page(drawn).text.count("Loss") == 2
    assert "Reward" not in Page(drawn).text


def test_a_single_run_shows_its_problems_before_and_after_and_its_pass_at_k(tmp_path: Path) -> None:
    page = Page(render_run(make(tmp_path / "one")))
    assert "Problem by problem" in page.text
    assert "More samples" in page.text


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, None),
        ({"estimate": None, "low": None, "high": None, "up_to": 8}, "none up to 8"),
        ({"estimate": 4, "low": 2, "high": None, "up_to": 8}, "4 [2, ?]"),
    ],
)
def test_a_crossover_in_words(found: dict[str, Any] | None, words: str | None) -> None:
    assert crossover(found) == words
