"""`rlllm.plugins`: every name loads and is documented, and importing the module loads nothing heavy."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import rlllm.plugins

HEAVY = ("torch", "transformers", "trl", "datasets", "numpy", "scipy", "pydantic")


def typed_names() -> dict[str, str]:
    """Name -> module of the imports that only type checkers see."""
    tree = ast.parse(Path(rlllm.plugins.__file__).read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [line for node in guarded for line in node.body if isinstance(line, ast.ImportFrom)]
    return {alias.name: str(line.module) for line in imports for alias in line.names if alias.name == alias.asname}


@pytest.mark.parametrize("name", rlllm.plugins.__all__)
def test_every_name_loads_and_has_a_docstring_of_its_own(name: str) -> None:
    public = getattr(rlllm.plugins, name)
    assert public.__module__ == rlllm.plugins._PUBLIC[name]
    own = public.__dict__.get("__doc__") if inspect.isclass(public) else public.__doc__
    assert own
    assert not own.startswith(f"{name}("), "this is the signature that dataclass writes where there is no docstring"


def test_type_checkers_see_the_same_names() -> None:
    assert typed_names() == rlllm.plugins._PUBLIC


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Rewrad'"):
        rlllm.plugins.Rewrad  # noqa: B018


def test_importing_it_loads_no_heavy_package() -> None:
    code = f"import json, sys, rlllm.plugins; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
