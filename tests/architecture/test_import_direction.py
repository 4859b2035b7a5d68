"""Imports go one way, from the command line down to core; rooms of one tier do not know each other."""

from __future__ import annotations

import sys

import pytest
from source_graph import Import, expect_none, graph, imports_of, knots, modules

TIERS = (
    {"core"},
    {"parsing", "sandbox", "network"},
    {"data", "policies"},
    {"rewards", "rollouts"},
    {"algorithms", "evals", "launch", "report"},
    {"training"},
    {"stages"},
    {"tools"},
    {"api"},
    {"facade", "plugins", "assets"},
    {"command line"},
)
"""Lowest first. A room imports from rooms of lower tiers only; rooms of one tier do not import each other."""
CORE_MAY_USE = {"pydantic", "pydantic_core", "typing_extensions", "yaml", "PIL"}


def room(module: str) -> str:
    package, _, rest = module.partition(".")
    if package == "rlllm_cli":
        return "command line"
    return rest.partition(".")[0] or "facade"


def tier(name: str) -> int:
    return next(index for index, rooms in enumerate(TIERS) if name in rooms)


def goes_down(edge: Import) -> bool:
    if edge.target == "rlllm" and edge.name == "__version__":
        return True
    here, there = room(edge.source), room(edge.target)
    return here == there or tier(there) < tier(here)


def own_imports() -> list[Import]:
    return [edge for edges in graph().values() for edge in edges if edge.top in ("rlllm", "rlllm_cli")]


def test_every_room_has_a_place_in_the_design() -> None:
    known = set().union(*TIERS)
    expect_none(name for name in modules() if room(name) not in known)


def test_imports_go_one_way_inside_functions_too() -> None:
    expect_none([str(edge) for edge in own_imports() if not goes_down(edge)])


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions, for types only and by name (`"rlllm.x:y"`) count like any other."""
    known = modules()
    edges = {name: {edge.target for edge in own} & known.keys() - {name} for name, own in graph().items()}
    expect_none(knots(edges))


def test_the_rule_itself_finds_circles() -> None:
    assert knots({"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": []}) == [["a", "b", "c"]]
    assert knots({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_every_imported_module_of_ours_exists() -> None:
    known = modules()
    expect_none([str(edge) for edge in own_imports() if edge.target not in known])


def test_core_uses_the_standard_library_pydantic_yaml_and_pillow_only() -> None:
    allowed = sys.stdlib_module_names | CORE_MAY_USE | {"rlllm"}
    core = [edge for name, edges in graph().items() if room(name) == "core" for edge in edges]
    expect_none([str(edge) for edge in core if edge.top not in allowed])


def test_the_report_reads_run_directories_and_uses_core_only() -> None:
    report = [edge for edge in own_imports() if room(edge.source) == "report"]
    expect_none([str(edge) for edge in report if room(edge.target) not in ("report", "core", "facade")])


def test_the_command_line_imports_only_typer_and_the_standard_library_at_module_level() -> None:
    allowed = sys.stdlib_module_names | {"typer", "rlllm_cli"}
    eager = [edge for name, edges in graph().items() if room(name) == "command line" for edge in edges]
    expect_none([str(edge) for edge in eager if edge.when == "import" and edge.top not in allowed])


def test_only_one_file_imports_trl() -> None:
    users = {name for name, edges in graph().items() for edge in edges if edge.top == "trl"}
    assert users <= {"rlllm.algorithms._trl"}


@pytest.mark.parametrize(
    ("module", "statement", "allowed"),
    [
        ("rlllm.stages.sft", "from rlllm.data import load", True),
        ("rlllm.rollouts.engines.hf", "from rlllm.policies.loading import load_policy", True),
        ("rlllm.policies.loading", "from rlllm.rollouts import hf", False),
        ("rlllm.data.load", "from rlllm.rewards import composition", False),
        ("rlllm.data.load", "def f():\n    import rlllm.rewards.composition", False),
        ("rlllm.data.load", "from .. import rewards", False),
        ("rlllm.core.runs", "from rlllm import __version__", True),
        ("rlllm.core.runs", "from rlllm import reason", False),
        ("rlllm.stages.sft", "import rlllm_cli.main", False),
        ("rlllm_cli.main", "def f():\n    import rlllm", True),
        ("rlllm.data.load", 'TARGET = "rlllm.rewards.composition:build"', False),
        ("rlllm.rewards.composition", 'TARGET = "rlllm.data:load"', True),
    ],
)
def test_the_rule_itself_tells_down_from_up(module: str, statement: str, allowed: bool) -> None:
    known = dict.fromkeys(
        ["rlllm", "rlllm.data", "rlllm.rewards", "rlllm.rewards.composition", "rlllm.rollouts.engines.hf"]
    )
    assert all(goes_down(edge) for edge in imports_of(module, statement, known)) is allowed
