"""The report: whole pages from run directories written by hand, judged by parsing them."""

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
from PIL import Image

import rlllm.report as report
from rlllm.core.images import data_uri, image_size
from rlllm.core.runs import Run, append_jsonl, write_json
from rlllm.core.verdict import Diagnostics, judge
from rlllm.report import SummaryRow, render_pipeline, render_run
from rlllm.report.markup import Html, tag, text
from rlllm.report.wording import MINUS

HOSTILE = "</pre></style><script>alert(1)</script><img src=x onerror=alert(2)> \"'&amp; \x00\x1b[31m \u202eabc \ud800"
FILES = (
    *("config.json", "env.json", "lineage.json", "metrics.jsonl", "samples.jsonl", "status.json", "verdict.json"),
    *("results.json", "before_after.jsonl", "items.jsonl"),
)


class Page(HTMLParser):
    """Checks that tags are balanced and collects what the tests ask about."""

    void = frozenset({"meta", "br", "img"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice on {name}"
        self.tags.append((name, dict(attrs)))
        if name not in self.void:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open, f"</{name}> closes nothing"
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


def make_run(path: Path, words: str = "12 + 30 = 42", steps: int = 30, diagnostics: Diagnostics | None = None) -> Run:
    """A run directory with every file a report reads; `words` go wherever text of a model or a user goes."""
    diagnostics = diagnostics or Diagnostics(
        steps_requested=steps, steps_done=steps, rows=64, largest_gradient=1.5, weights_changed=True
    )
    settings = {
        "model": words,
        "method": "grpo",
        "data": {"name": words, "rows": 64},
        "rewards": ["exact", {"name": words}],
    }
    write_json(path / "config.json", {"stage": "reason", "command": f"rlllm reason {words}", "settings": settings})
    write_json(path / "env.json", {"device": words, "packages": {words: "1"}})
    write_json(path / "lineage.json", {"parents": [words]})
    write_json(path / "verdict.json", judge(diagnostics).to_json())
    run = Run(path)
    run.set_status("done")
    append_jsonl(path / "metrics.jsonl", [metric_row(step, words) for step in range(1, steps + 1)])
    append_jsonl(path / "samples.jsonl", [sample_row(step, words) for step in range(1, steps + 1) for _ in range(4)])
    drawn = [{"completion": words, "score": 0.0}, {"completion": words, "score": None}]
    gained = [{"completion": words, "score": 1.0}]
    pairs = [(drawn, gained), (gained, drawn), (drawn, [{"completion": words, "score": None}])]
    rows = [{"prompt": words, "answer": words, "before": before, "after": after} for before, after in pairs]
    append_jsonl(path / "before_after.jsonl", rows)
    item = {"task": words, "id": "1", "scores": [1.0, 0.0], "prompt": [{"role": "user", "content": words}]}
    append_jsonl(path / "items.jsonl", [{**item, "answer": None, "completions": [words, words]}])
    value = {"estimate": 0.78, "low": 0.74, "high": 0.82, "n": 256, "method": words}
    task = {"hash": "a", "metric": "pass", "items": 256, "samples": 8, "values": {words: value}}
    write_json(path / "results.json", {"tasks": {words: task}})
    return run


def metric_row(step: int, words: str) -> dict[str, Any]:
    row = {"step": step, "time": step * 0.5, "loss": 1 / step, "reward": step / 40, "kl": 0.0, words: step}
    return {**row, "grad_norm": math.nan if step == 3 else 1.0}


def sample_row(step: int, words: str) -> dict[str, Any]:
    rewards = {"exact": {"value": 1.0}, words: {"value": None}, "broken": {"value": None, "error": words}}
    return {
        "step": step,
        "prompt": words,
        "completion": words,
        "answer": words,
        "reward": step / 40,
        "rewards": rewards,
    }


def pipeline(runs: list[Run], words: str = "words") -> str:
    inside = {"estimate": 0.5, "low": 0.4, "high": 0.6, "n": 100, "method": "wilson"}
    outside = {"estimate": 7.0, "low": None, "high": None, "n": 1, "method": "constant"}
    rows = [
        SummaryRow(
            words, words, after=inside, before=inside, difference={**inside, "estimate": -0.1}, p=0.0002, seconds=75
        ),
        SummaryRow("eval", "score", after=outside, p=0.31, ok=False),
        SummaryRow("nothing", "measured"),
    ]
    return render_pipeline(words, rows, runs, [f"rlllm {words}"], [words])


def test_a_run_is_one_well_formed_page_with_all_its_parts(tmp_path: Path) -> None:
    page = Page(render_run(make_run(tmp_path / "run")))
    titles = [
        "Results",
        "Learning curves",
        "Rewards by source",
        "Completions before and after",
        "Items",
        "Run it again",
    ]
    for title in [*titles, "Settings", "Lineage", "Environment", "All logged metrics"]:
        assert title in page.text
    assert "The run was carried out." in page.text
    assert "30 of 30 steps ran weights moved" in page.text
    assert "Of 3 prompts, 1 scored higher afterwards, 1 lower and 1 the same." in page.text


def test_a_pipeline_shows_the_table_the_commands_and_every_run(tmp_path: Path) -> None:
    page = Page(pipeline([make_run(tmp_path / "one"), make_run(tmp_path / "two")]))
    assert "Failed: eval." in page.text
    for shown in (
        "0.50",
        "0.40 to 0.60",
        f"{MINUS}0.10",
        "p < 0.001",
        "p = 0.310",
        "1 min 15 s",
        "interval unknown",
        "✕ failed",
    ):
        assert shown in page.text
    assert page.text.count("Learning curves") == 2


def test_a_stage_with_several_measures_is_named_and_timed_once() -> None:
    value = {"estimate": 0.5, "low": 0.4, "high": 0.6, "n": 100, "method": "wilson"}
    rows = [SummaryRow("align", measure, after=value, seconds=30) for measure in ("utility", "win rate")]
    page = Page(render_pipeline("two", [*rows, SummaryRow("eval", "score", after=value, seconds=10)], []))
    assert "40 s in total" in page.text
    assert page.text.count("30 s") == 1
    assert page.values("class").count("stage repeated") == 1


def test_measures_before_and_after_training_show_their_change(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    before, after = (
        {"estimate": e, "low": e - 0.2, "high": e + 0.2, "n": 64, "method": "bootstrap"} for e in (2.0, 1.5)
    )
    change = {**before, "estimate": -0.5, "low": -0.7, "high": -0.3, "p_value": 0.02}
    loss = {"name": "loss", "higher_is_better": False, "before": before, "after": after, "difference": change}
    wins = {"name": "wins", "higher_is_better": True, "before": None, "after": after, "difference": None}
    write_json(run.path / "results.json", {"measures": [loss, wins]})
    page = Page(render_run(run))
    assert "loss 64 items, lower is better 2.00 1.80 to 2.20 1.50 1.30 to 1.70" in page.text
    assert f"{MINUS}0.50 {MINUS}0.70 to {MINUS}0.30, p = 0.020" in page.text


def test_links_lead_to_parts_of_the_page_and_ids_are_unique(tmp_path: Path) -> None:
    for source in (
        render_run(make_run(tmp_path / "a")),
        pipeline([make_run(tmp_path / "b"), make_run(tmp_path / "c")]),
    ):
        page = Page(source)
        ids = page.values("id")
        assert len(ids) == len(set(ids))
        assert {f"#{name}" for name in ids} >= {*page.values("href")}
        assert {*ids} >= {*page.values("aria-labelledby")}


def test_headings_never_skip_a_level(tmp_path: Path) -> None:
    for source in (render_run(make_run(tmp_path / "a")), pipeline([make_run(tmp_path / "b")])):
        levels = [int(name[1]) for name, _ in Page(source).tags if re.fullmatch(r"h[1-6]", name)]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_page_fetches_nothing_and_runs_nothing(tmp_path: Path) -> None:
    source = pipeline([make_run(tmp_path / "run")])
    page = Page(source)
    assert not re.search(r"https?:|//\w|url\(|@import|javascript:", source)
    assert {name for name, _ in page.tags}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    )
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name in ("src", "style")]
    assert "default-src 'none'" in str(page.values("content"))


def test_hostile_text_is_shown_and_never_acts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", words=HOSTILE.replace("\ud800", ""))
    append_jsonl(run.path / "items.jsonl", [{"task": "t", "scores": [1.0], "completions": ["\x9b \x7f \ufeff"]}])
    for source in (render_run(run), pipeline([run], HOSTILE)):
        page = Page(source)
        assert {name for name, _ in page.tags}.isdisjoint({"script", "img"})
        assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in page.text
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", source)
        source.encode("utf-8")
        assert "␛[31m" in page.text


@given(st.text())
def test_any_text_comes_out_as_text(words: str) -> None:
    page = Page(tag("p", words, title=words) + tag("b", Html(text(words))))
    assert [name for name, _ in page.tags] == ["p", "b"]
    text(words).encode("utf-8")


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_only_leaves_its_part_out(tmp_path: Path, missing: str) -> None:
    run = make_run(tmp_path / "run")
    (run.path / missing).unlink()
    Page(render_run(run))
    Page(pipeline([run]))


def test_an_empty_directory_still_gives_a_page(tmp_path: Path) -> None:
    page = Page(render_run(Run(tmp_path)))
    assert "No verdict yet; the run's state is: unknown." in page.text
    Page(render_pipeline("nothing", [], []))


def test_the_same_files_give_the_same_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert render_run(run) == render_run(run)
    assert pipeline([run]) == pipeline([run])


def test_a_failed_run_names_every_reason_with_its_hint(tmp_path: Path) -> None:
    diagnostics = Diagnostics(
        steps_requested=5, steps_done=5, rows=9, reward_rows=40, reward_spread=0.0, weights_changed=False, pairs=4
    )
    diagnostics.identical_pairs = 1
    page = Page(render_run(make_run(tmp_path / "run", diagnostics=diagnostics)))
    assert "The run failed." in page.text
    for reason in judge(diagnostics).reasons:
        assert reason.text[1:] in page.text
        assert reason.hint in page.text
    assert "identical_pairs, a warning" in page.text


def test_curves_keep_their_order_leave_out_flat_extras_and_survive_nan(tmp_path: Path) -> None:
    source = render_run(make_run(tmp_path / "run"))
    titles = re.findall(r"<svg[^>]*><title>(.*?)</title>", source[source.index('id="curves"') :])
    assert [title.split(" over ")[0] for title in titles[:3]] == ["Reward", "Loss", "Gradient norm"]
    assert titles[0] == "Reward over 30 logged steps: from 0.025 to 0.750"
    assert titles[2] == "Gradient norm over 29 logged steps: from 1.00 to 1.00"
    assert "KL divergence" not in source


def test_without_a_before_and_after_file_the_extremes_of_the_first_and_last_step_are_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run.path / "before_after.jsonl").unlink()
    page = Page(render_run(run))
    assert "First logged step" in page.text
    assert page.text.count("Highest reward") == 2


def test_rewards_that_failed_or_could_not_judge_are_counted_apart(tmp_path: Path) -> None:
    source = render_run(make_run(tmp_path / "run", words="other"))
    table = source[source.index('id="rewards"') : source.index('id="completions"')].partition("<tbody>")[2]
    rows = [re.findall(r">([^<>]+)<", row) for row in table.split("<tr>")[1:]]
    assert [row[0] for row in rows] == ["exact", "other", "broken"]
    assert [row[-3:] for row in rows] == [["120", "0", "0"], ["120", "120", "0"], ["120", "0", "120"]]


def test_traces_are_nothing_that_the_model_wrote(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    before = render_run(run)
    traces = [
        {**row, "demonstration": True, "reward": 9.0, "completion": "by another", "rewards": {"exact": {"value": 9.0}}}
        for row in run.samples()
    ]
    append_jsonl(run.path / "samples.jsonl", traces)
    assert render_run(run) == before


def test_a_shown_completion_is_the_one_closest_to_the_mean(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run.path / "before_after.jsonl").unlink()
    scores = [("lucky", 1.0), ("usual", 0.0), ("also usual", 0.0)]
    drawn = [{"completion": words, "score": score} for words, score in scores]
    append_jsonl(run.path / "before_after.jsonl", [{"prompt": "p", "answer": "a", "before": drawn, "after": drawn[:1]}])
    page = Page(render_run(run))
    assert "Before score 0, mean of 3: 0.333 usual" in page.text
    assert "After score 1 lucky" in page.text


def test_long_completions_are_cut_and_say_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", words="word " * 2000)
    assert "more characters" in Page(render_run(run)).text


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ink", ["ink", "muted", "accent", "fail"])
@pytest.mark.parametrize("ground", ["paper", "panel"])
def test_colours_have_the_contrast_that_wcag_asks_for_text(scheme: int, ink: str, ground: str) -> None:
    css = Path(report.__file__).with_name("style.css").read_text(encoding="utf-8")
    found = {name: re.findall(rf"--{name}: (#[0-9a-f]{{6}})", css)[scheme] for name in (ink, ground)}
    light, dark = sorted((luminance(colour) for colour in found.values()), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_prompt_with_images_shows_them_small_and_says_which_is_gone(tmp_path: Path) -> None:
    photo, gone = tmp_path / "photo.jpg", tmp_path / "gone.png"
    Image.new("RGB", (300, 150), "red").save(photo)
    Image.new("RGB", (32, 20), "blue").save(gone)
    small = data_uri(gone.read_bytes())
    gone.unlink()
    parts = [{"type": "image", "image": str(reference)} for reference in (photo, small, gone)]
    run = make_run(tmp_path / "run")
    shown = [{"role": "user", "content": [*parts, {"type": "text", "text": "Which colour?"}]}]
    append_jsonl(
        run.path / "items.jsonl", [{"task": "t", "id": "0", "scores": [1.0], "completions": ["red"], "prompt": shown}]
    )
    source = render_run(run)
    page = Page(source)
    pictures = [attributes for name, attributes in page.tags if name == "img"]
    assert [(picture["width"], picture["height"]) for picture in pictures] == [("96", "48"), ("96", "60")]
    assert pictures[0]["alt"] == "image 1 of the prompt, 300 by 150 pixels"
    embedded = [str(picture["src"]) for picture in pictures]
    assert [image_size(uri) for uri in embedded] == [(96, 48), (32, 20)]
    assert "image 3: there is no such image file" in page.text
    assert "[image] [image] [image] Which colour?" in " ".join(page.text.split())
    assert "img-src data:" in str(page.values("content"))
