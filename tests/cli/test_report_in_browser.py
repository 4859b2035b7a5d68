"""The pages of real runs, opened in a headless browser: nothing is logged or fetched, and nothing is cut off on a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm_cli.main import run as command

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser on PATH")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--enable-logging=stderr", "--v=0", "--dump-dom"),
)
DATA = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 6}
PHONE = 390
"""Width in CSS pixels."""
_FRAME = """<!DOCTYPE html><meta charset="utf-8"><iframe width="{width}" height="800" srcdoc="{page}"></iframe><script>
addEventListener("load", () => {{
  const inside = document.querySelector("iframe").contentWindow, shown = inside.document;
  const kept = ".scroll, pre, .skip, thead, title";  // these scroll by themselves, or are for screen readers
  const cut = [...shown.querySelectorAll("body *")].filter(
    (one) => one.getBoundingClientRect().right > inside.innerWidth + 1 && !one.closest(kept));
  const measured = {{ inner: inside.innerWidth, scroll: shown.documentElement.scrollWidth,
    styled: inside.getComputedStyle(shown.body).maxWidth, cut: cut.map((one) => one.outerHTML.slice(0, 120)) }};
  document.documentElement.dataset.measured = JSON.stringify(measured);
}});
</script>"""
"""A page that shows another at a given width: a browser's own window has a least width above that of a phone."""


@dataclass(frozen=True)
class Opened:
    """What a browser made of a page."""

    dom: str
    console: list[str]

    @property
    def drawings(self) -> list[str]:
        """Descriptions of all images."""
        return [html.unescape(label) for label in re.findall(r'<svg[^>]* aria-label="([^"]*)"', self.dom)]


def browse(page: Path, profile: Path) -> Opened:
    words = [str(BROWSER), *QUIET, f"--user-data-dir={profile}", "--window-size=1280,900", page.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True, encoding="utf-8")
    return Opened(done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line])


@pytest.fixture(scope="module")
def pages(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of a training run, of two compared with each other, and of two evaluations, written by the command line."""
    folder = tmp_path_factory.mktemp("runs")
    reward = folder / "rewards.py"
    reward.write_text("def vowel(sample): return float(any(letter in 'aeiou' for letter in sample.completion))\n")
    for seed in (0, 1):
        rlllm.reason(
            model=tiny_model,
            data=DATA,
            rewards=f"{reward}:vowel",
            max_steps=3,
            seed=seed,
            rollout={"max_new_tokens": 8, "group_size": 4},
            trainer={"per_device_train_batch_size": 8, "steps_per_generation": 1},
            eval={"rows": 6, "samples": 2},
            output_dir=folder / f"trained-{seed}",
        )
        rlllm.evaluate(
            model=tiny_model if seed == 0 else str(folder / "trained-1"),
            data=DATA,
            rewards=f"{reward}:vowel",
            samples=4,
            max_new_tokens=8,
            output_dir=folder / f"evaluated-{seed}",
        )
    made = {name: folder / f"{name}.html" for name in ("run", "trained", "evaluated")}
    assert command(["report", str(folder / "trained-0"), "-o", str(made["run"])]) == 0
    for name in ("trained", "evaluated"):
        both = [str(folder / f"{name}-{seed}") for seed in (0, 1)]
        assert command(["report", *both, "-o", str(made[name])]) == 0
    return made


DRAWINGS: list[tuple[str, list[str]]] = [
    ("run", ["Held-out prompts, 6 problems", "Reward over ", "Gradient norm over", "before "]),
    (
        "trained",
        ["B against A, 6 problems", "Reward over steps: A", "Gradient norm over steps: A", "Time: ", "before "],
    ),
    ("evaluated", ["B against A, 6 problems", "arithmetic, pass@k: A", "after "]),
]


@pytest.mark.parametrize(("name", "drawings"), DRAWINGS)
def test_a_page_opens_without_a_complaint_and_with_all_its_drawings(
    name: str, drawings: list[str], pages: dict[str, Path], tmp_path: Path
) -> None:
    opened = browse(pages[name], tmp_path)
    assert opened.console == []
    for start in drawings:
        assert [label for label in opened.drawings if label.startswith(start)], start
    assert len(re.findall(r"<svg[^>]*role=\"img\"", opened.dom)) == len(opened.drawings)
    assert not re.search(
        r"\b(?:NaN|Infinity|undefined|None)\b", " ".join(re.findall(r"<svg.*?</svg>", opened.dom, re.S))
    )


@pytest.mark.parametrize("name", [name for name, _ in DRAWINGS])
def test_nothing_on_a_page_is_wider_than_a_phone(name: str, pages: dict[str, Path], tmp_path: Path) -> None:
    framed = tmp_path / "framed.html"
    page = html.escape(pages[name].read_text(encoding="utf-8"), quote=True)
    framed.write_text(_FRAME.format(width=PHONE, page=page), encoding="utf-8")
    measured = _measured(browse(framed, tmp_path / "profile"))
    assert measured["styled"] == "1152px", "the style sheet is in force"
    assert (measured["inner"], measured["scroll"], measured["cut"]) == (PHONE, PHONE, [])


@pytest.mark.parametrize("name", [name for name, _ in DRAWINGS])
def test_a_page_asks_for_nothing_outside_itself(name: str, pages: dict[str, Path]) -> None:
    source = pages[name].read_text(encoding="utf-8")
    links = re.findall(r"""\s(?:src|href|srcset|data|action|poster|xlink:href)="([^"]*)\"""", source)
    assert links
    assert [link for link in links if not link.startswith("#")] == []
    assert not re.search(r"url\(|@import|<script|<link|<base|<iframe", source)


def _measured(opened: Opened) -> dict[str, Any]:
    found = re.search(r'data-measured="([^"]*)"', opened.dom)
    assert found, opened.console
    return json.loads(html.unescape(found[1]))
