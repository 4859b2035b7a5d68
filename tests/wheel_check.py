"""Builds the sdist and, from it, the wheel; installs the wheel where the checkout cannot be seen; and tries it.

Run by `make wheel-check`; a plain script, not collected by pytest. The trial environment borrows the dependencies
of this one through a path file; path files found on that path are not read, so the editable install is out of sight,
and nothing that is missing from the wheel can be found by luck.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 8_000_000
"""Bytes; a wheel is downloaded before anything can be tried."""
INSIDE = (
    "rlllm/__init__.py",
    "rlllm/py.typed",
    "rlllm_cli/main.py",
    "rlllm/recipes/",
    "rlllm/core/trl_fields.json",
    "rlllm/constraints.txt",
)
NANO = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md")
COMMANDS = (["--version"], ["--help"], ["recipes", "ls"], ["reason", "--dry-run"])
PROBE = """
import importlib.resources, json, rlllm, rlllm_cli.main
root = importlib.resources.files("rlllm")
print(json.dumps({"rlllm": rlllm.__file__, "cli": rlllm_cli.main.__file__,
                  "recipes": sum(1 for kind in (root / "recipes").iterdir() if kind.is_dir())}))
"""


def main() -> None:
    """Exit code 0 if the wheel holds what it should, nothing else, and runs; else 1 with the problems, one a line."""
    with tempfile.TemporaryDirectory(prefix="rlllm-wheel-") as folder:
        wheel = build(Path(folder) / "dist")
        problems = contents(wheel) or trial(wheel, Path(folder) / "trial")
        size = wheel.stat().st_size
    for problem in problems:
        print(f"wheel-check: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"wheel-check: {wheel.name}, {size / 1e6:.1f} MB, installs and runs without the checkout")


def build(target: Path) -> Path:
    """The wheel, made from the sdist, so that a file the sdist forgets is missed here too."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(target.glob("*.whl"))


def contents(wheel: Path) -> list[str]:
    """What is wrong with the list of files in the wheel."""
    names = zipfile.ZipFile(wheel).namelist()
    wanted = [*INSIDE, *(f"rlllm/assets/nano/{name}" for name in NANO)]
    problems = [f"{want} is missing" for want in wanted if not any(name.startswith(want) for name in names)]
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    if packages != {"rlllm", "rlllm_cli"}:
        problems.append(f"its top-level packages are {', '.join(sorted(packages))}, not rlllm and rlllm_cli")
    problems += [f"{name} should not be shipped" for name in names if name.endswith((".pyc", ".partial"))]
    if wheel.stat().st_size > LARGEST:
        problems.append(f"it has {wheel.stat().st_size} bytes, more than {LARGEST}")
    return problems


def trial(wheel: Path, place: Path) -> list[str]:
    """What goes wrong when the wheel is installed and used, from a directory outside the checkout."""
    python = install(wheel, place)
    probe = subprocess.run([python, "-c", PROBE], cwd=place, env=quiet(), check=True, capture_output=True, text=True)
    found = json.loads(probe.stdout)
    problems = [f"{path} is not the wheel's" for path in (found["rlllm"], found["cli"]) if str(place) not in path]
    if not found["recipes"]:
        problems.append("it carries no recipes")
    for arguments in COMMANDS:
        command = [str(place / "bin" / "rlllm"), *arguments]
        done = subprocess.run(command, cwd=place, env=quiet(), capture_output=True, text=True)
        if done.returncode:
            problems.append(f"rlllm {' '.join(arguments)} exits with {done.returncode}: {done.stderr.strip()[-400:]}")
    return problems


def install(wheel: Path, place: Path) -> Path:
    """Put the wheel, and a path to the dependencies, into a new environment; its Python."""
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)}))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    return python


def quiet() -> dict[str, str]:
    """This environment without the variables that would let the checkout in."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}


if __name__ == "__main__":
    main()
