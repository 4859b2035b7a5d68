"""The lazy registry: built-in names, files and modules. Installed plugins are tested with real packages in tests/contract."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from rlllm.core.errors import ConfigError, ExitCode, PluginError, UnknownNameError, describe
from rlllm.core.registry import Builtin, Registry

PARTS = Registry(
    "part",
    "rlllm.no_such_group",
    {
        "joiner": Builtin("posixpath:join", "joins"),
        "ghost": Builtin("no_such_module_at_all:thing", "is never imported"),
        "basename": Builtin("posixpath:basename", "cuts"),
    },
    "rlllm parts ls",
)
MODULES = [f"rlllm.{room}.registry" for room in ("data", "rewards", "rollouts", "algorithms", "evals")]
REGISTRIES = [
    value for module in MODULES for value in vars(import_module(module)).values() if isinstance(value, Registry)
]


def test_names_are_listed_in_order_without_importing_anything() -> None:
    assert PARTS.names() == ["basename", "ghost", "joiner"]
    assert PARTS.entries()[1].target == "no_such_module_at_all:thing"
    assert "no_such_module_at_all" not in sys.modules


def test_membership_needs_no_import() -> None:
    assert "ghost" in PARTS
    assert "other" not in PARTS


def test_a_builtin_name_loads_its_attribute() -> None:
    import posixpath

    assert PARTS.load("joiner") is posixpath.join


def test_a_module_path_loads_without_being_registered() -> None:
    import posixpath

    assert PARTS.load("posixpath:split") is posixpath.split


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.noun)
def test_every_builtin_target_exists(registry: Registry) -> None:
    assert [name for name in registry.builtins if registry.load(name) is None] == []


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.noun)
def test_every_builtin_says_what_it_is_in_one_line(registry: Registry) -> None:
    assert [e.name for e in registry.entries() if e.origin == "built in" and (not e.summary or "\n" in e.summary)] == []


def test_listing_every_registry_leaves_heavy_libraries_alone() -> None:
    code = (
        f"import sys; from importlib import import_module\nfor module in {MODULES}:\n"
        "    [r.entries() for r in vars(import_module(module)).values() if type(r).__name__ == 'Registry']\n"
        "print(sorted({'torch', 'transformers', 'trl', 'datasets', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.py").write_text("calls = []\ndef reward(sample): return 1.0\nnumber = 3\n")
    (tmp_path / "broken.py").write_text("import no_such_module_here\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    (tmp_path / "leaving.py").write_text("raise RuntimeError('left\\n early')\n")
    return tmp_path


ERRORS = [
    ("jioner", UnknownNameError, "unknown part: jioner\nhint: did you mean joiner?"),
    ("xyzzy", UnknownNameError, "exists: basename, ghost, joiner\nhint: list them with: rlllm parts ls"),
    ("missing.py:reward", ConfigError, "no such file for the part: "),
    ("missing.py:reward", ConfigError, "hint: give it as path/to/file.py:function"),
    ("good.py:rewrad", UnknownNameError, "hint: did you mean reward?"),
    ("good.py:nothing_alike", UnknownNameError, "exists: reward"),
    ("broken.py:f", ConfigError, "ModuleNotFoundError: No module named 'no_such_module_here'"),
    ("broken.py:f", ConfigError, "hint: try it alone: python "),
    ("syntax.py:f", ConfigError, "the part file does not import: SyntaxError"),
    ("leaving.py:f", ConfigError, "RuntimeError: left early"),
    ("no_such_module_here:f", ConfigError, "hint: try: python -c 'import no_such_module_here'"),
    ("posixpath:jion", UnknownNameError, "hint: did you mean join?"),
    (":", ConfigError, "does not import"),
    ("a.py:", ConfigError, "no such file"),
    ("good.py", ConfigError, "which part of the file?\ngiven: good.py\nhint: good.py:NAME"),
]


@pytest.mark.parametrize(("name", "kind", "words"), ERRORS)
def test_a_name_that_does_not_load_says_what_to_type(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: type[ConfigError], words: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(kind) as caught:
        PARTS.load(name)
    assert words in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_file_is_run_once_however_often_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    first = PARTS.load("good.py:calls")
    assert PARTS.load(f"{folder}/good.py:calls") is first


def test_a_file_that_failed_is_read_again_after_its_repair(folder: Path) -> None:
    path = folder / "broken.py"
    with pytest.raises(ConfigError):
        PARTS.load(f"{path}:f")
    path.write_text("def f(sample): return 2.0\n")
    assert PARTS.load(f"{path}:f")(None) == 2.0


def test_an_error_is_described_on_one_line() -> None:
    assert describe(ValueError("two\n  lines")) == "ValueError: two lines"
    assert describe(KeyError()) == "KeyError"


ENDINGS = {
    "sys.exit(3)": "SystemExit: 3",
    "raise SystemExit": "SystemExit",
    "sys.exit(0)": "SystemExit: 0",
    "raise GeneratorExit": "GeneratorExit",
    "raise BaseException('left')": "BaseException: left",
    "argparse.ArgumentParser().parse_args(['--unknown'])": "SystemExit: 2",
}


@pytest.mark.parametrize(("line", "shown"), ENDINGS.items())
def test_a_file_that_ends_the_program_when_it_is_imported_is_a_broken_plugin(
    tmp_path: Path, line: str, shown: str
) -> None:
    (tmp_path / "ends.py").write_text(f"import argparse, sys\ndef f(sample): return 1.0\n{line}\n")
    with pytest.raises(PluginError) as caught:
        PARTS.load(f"{tmp_path / 'ends.py'}:f")
    assert caught.value.what == f"the part file ends the program when it is imported: {shown} (ends.py, line 3)"
    assert caught.value.exit_code == ExitCode.PLUGIN
    assert "if __name__ ==" in str(caught.value)


def test_a_file_that_lacks_a_file_of_its_own_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text("TEXT = open('nowhere.json').read()\n")
    with pytest.raises(ConfigError, match=r"does not import: FileNotFoundError: .*nowhere.json.* \(reads.py, line 1\)"):
        PARTS.load(f"{tmp_path / 'reads.py'}:f")
