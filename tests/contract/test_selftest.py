"""`rlllm selftest`: all parts of the registries are checked, all checks pass here, and a wrong formula fails."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest

from rlllm.algorithms.registry import SLOTS
from rlllm.tools.selftest import formulas
from rlllm.training.trainers import dpo
from rlllm_cli.main import run

WITHOUT_FORMULA = {"mask all", "mask random", "mask random-per-completion", "mask entropy-top20"}
"""The whole mask, the random ones, and a second name of `mask entropy`."""


def selftest(capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = run(["selftest", "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_everything_of_this_installation_is_as_its_formula_says(capsys: pytest.CaptureFixture[str]) -> None:
    code, report = selftest(capsys)
    assert [result for result in report["results"] if not result["ok"]] == []
    assert (code, report["ok"]) == (0, True)
    checked = {result["part"].removeprefix("TRL ") for result in report["results"]}
    slots = {
        name.replace(".", " ", 1)
        for name in SLOTS.builtins
        if not name.startswith(("sampler.", "off_policy.", "erase.", "reflect."))
    }
    assert slots - checked == WITHOUT_FORMULA
    assert {f"loss {name}" for name in (*dpo.LOSSES, "nll", "dft", "kto")} <= checked
    assert any("polgrad" in result["against"] for result in report["results"])


def test_a_wrong_formula_fails_and_names_the_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = formulas.k3
    monkeypatch.setattr(formulas, "k3", lambda new, ref: right(new, ref) + 1e-3)
    code, report = selftest(capsys)
    failed = {result["part"] for result in report["results"] if not result["ok"]}
    assert (code, report["ok"]) == (1, False)
    assert "KL estimate k3" in failed
    assert failed <= {"KL estimate k3"} | {result for result in failed if result.endswith(" with KL")}


def test_a_library_that_does_not_load_is_one_failed_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rlllm.tools.selftest.trl_parts", ModuleType("trl_parts"))
    code, report = selftest(capsys)
    failed = [(result["part"], result["difference"]) for result in report["results"] if not result["ok"]]
    assert (code, failed) == (1, [("everything of TRL", None)])
