"""Installed plugins, for real: packages are built, installed beside rlllm, and found by name in a fresh interpreter.

A broken one does no harm until it is named; a name claimed twice is an error that names both distributions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"
PREAMBLE = """
import json, sys
from rlllm.algorithms.registry import METHODS
from rlllm.data.registry import DATASETS
from rlllm.evals.registry import METRICS
from rlllm.rewards.registry import REWARDS
from rlllm.core.errors import RlllmError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, Sample
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

def compose(*specs):
    return build([RewardSpec.model_validate(spec) for spec in specs])

def error_of(action):
    try:
        action()
    except RlllmError as error:
        return {"type": type(error).__name__, "text": str(error), "code": int(error.exit_code)}

def answer(**values):
    heavy = [name for name in ("torch", "transformers", "trl", "datasets") if name in sys.modules]
    print(json.dumps({**values, "heavy": heavy}))
"""


def install(target: Path, *distributions: str) -> Path:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    done = subprocess.run(
        [*command, *(str(FIXTURES / name) for name in distributions)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the plugin and the broken plugin are installed."""
    return install(tmp_path_factory.mktemp("plugins"), "plugin_dist", "broken_dist")


@pytest.fixture(scope="session")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the plugin that claims the reward `vowels` too is installed."""
    return install(tmp_path_factory.mktemp("rival"), "rival_dist")


def run(arguments: list[str], *targets: Path) -> subprocess.CompletedProcess[str]:
    """A Python process that sees the packages in `targets`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, targets))}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def ask(code: str, *targets: Path) -> dict[str, Any]:
    """What `code` passes to `answer`, run in an interpreter that sees the packages in `targets`."""
    done = run(["-c", PREAMBLE + dedent(code)], *targets)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert reply.pop("heavy") == []
    return reply


def test_parts_of_installed_packages_are_listed_with_their_distribution(plugins: Path) -> None:
    reply = ask(
        """
        registries = {"rewards": REWARDS, "datasets": DATASETS, "methods": METHODS, "metrics": METRICS}
        answer(**{key: {e.name: e.origin for e in registry.entries() if e.origin != "built in"}
                  for key, registry in registries.items()},
               imported=[name for name in sys.modules if name.startswith("rlllm_")])
        """,
        plugins,
    )
    assert reply == {
        "rewards": {
            "cracked": "rlllm-broken-fixture 0.1.0",
            "hollow": "rlllm-broken-fixture 0.1.0",
            "vowels": "rlllm-plugin-fixture 0.3.0",
        },
        "datasets": {"echo": "rlllm-plugin-fixture 0.3.0"},
        "methods": {"lite-grpo": "rlllm-plugin-fixture 0.3.0"},
        "metrics": {"longer": "rlllm-plugin-fixture 0.3.0"},
        "imported": [],
    }


def test_an_installed_metric_is_planned_under_its_name(plugins: Path) -> None:
    reply = ask(
        """
        from rlllm.core.config import resolve
        from rlllm.stages.evaluate.plan import plan_evaluation
        from rlllm.stages.evaluate.settings import EvalSettings

        plan = plan_evaluation(resolve(EvalSettings, {"tasks": "longer", "rows": 4}))
        answer(lines=[text for label, text in plan.lines() if label == "task"], completions=plan.completions)
        """,
        plugins,
    )
    assert reply == {
        "lines": ["longer:arithmetic: longer on 4 rows of arithmetic: 1 training rows, 4 held out"],
        "completions": 0,
    }


def test_an_installed_reward_scores_under_its_name_beside_a_built_in_one(plugins: Path) -> None:
    reply = ask(
        """
        composition = compose("exact", {"name": "vowels", "weight": 0.5, "letters": "ae"})
        scores = composition.score([Sample("q", "#### abide", "abide"), Sample("q", "####", "abide")])
        answer(names=scores.names, values=scores.values, totals=scores.totals, errors=len(scores.errors))
        """,
        plugins,
    )
    assert reply == {
        "names": ["exact", "vowels"],
        "values": [[1.0, 0.0], [0.4, None]],
        "totals": [1.2, 0.0],
        "errors": 0,
    }


def test_a_wrong_argument_of_an_installed_reward_is_the_users_error(plugins: Path) -> None:
    reply = ask('answer(error=error_of(lambda: compose({"name": "vowels", "leters": "ae"})))', plugins)
    assert reply["error"]["code"] == 2
    assert "did you mean letters" in reply["error"]["text"]


def test_an_installed_dataset_loads_as_every_record_type_it_has_columns_for(plugins: Path) -> None:
    reply = ask(
        """
        config = DataConfig.model_validate({"name": "echo", "rows": 3, "holdout": 2})
        tasks, pairs, talks = (load(config, kind) for kind in (PromptTask, PreferencePair, Conversation))
        answer(prompts=[task.prompt for task in tasks.train], answers=[task.answer for task in tasks.holdout],
               pair=[pairs.train[0].chosen, pairs.train[0].rejected], completion=talks.train[0].completion,
               rewards=tasks.rewards)
        """,
        plugins,
    )
    assert reply == {
        "prompts": ["Repeat: train-0", "Repeat: train-1", "Repeat: train-2"],
        "answers": ["holdout-0", "holdout-1"],
        "pair": ["train-0", "0-niart"],
        "completion": "train-0",
        "rewards": ["vowels"],
    }


def test_an_installed_schema_is_recognised_and_a_broken_one_beside_it_only_warns(plugins: Path, tmp_path: Path) -> None:
    (tmp_path / "cards.jsonl").write_text('{"front": "2 + 2", "back": "4"}\n')
    reply = ask(
        f"""
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            config = DataConfig.model_validate({{"name": {str(tmp_path / "cards.jsonl")!r}}})
            tasks = load(config, PromptTask)
        named = DataConfig.model_validate({{"name": config.name, "row_schema": "shattered"}})
        answer(task=[tasks.train[0].prompt, tasks.train[0].answer], source=tasks.source,
               warnings=[str(warning.message) for warning in caught], error=error_of(lambda: load(named, PromptTask)))
        """,
        plugins,
    )
    assert reply["task"] == ["2 + 2", "4"]
    assert "(schema flashcards)" in reply["source"]
    assert "the installed data schema shattered is not tried" in reply["warnings"][0]
    assert reply["error"]["type"] == "PluginError"
    assert "rlllm-broken-fixture 0.1.0" in reply["error"]["text"]


def test_an_installed_method_loads_under_its_name(plugins: Path) -> None:
    reply = ask(
        """
        method = METHODS.load("lite-grpo")
        answer(type=type(method).__name__, name=method.name, stage=method.stages[0], settings=dict(method.settings))
        """,
        plugins,
    )
    assert reply == {
        "type": "Method",
        "name": "lite-grpo",
        "stage": "reason",
        "settings": {"loss_type": "grpo", "scale_rewards": "none", "beta": 0.0},
    }


def test_a_misspelt_name_is_matched_against_installed_names_too(plugins: Path) -> None:
    reply = ask('answer(error=error_of(lambda: compose("vowel")))', plugins)
    assert reply["error"]["code"] == 2
    assert "did you mean vowels" in reply["error"]["text"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("cracked", "does not load: ModuleNotFoundError: No module named 'a_package_nobody_has'"),
        ("hollow", "is no reward: it is of type str and cannot be called"),
    ],
)
def test_a_broken_plugin_fails_when_it_is_named_and_is_named_itself(plugins: Path, name: str, complaint: str) -> None:
    reply = ask(f'answer(error=error_of(lambda: compose("exact", "{name}")))', plugins)
    assert reply["error"]["type"] == "PluginError"
    assert reply["error"]["code"] == 3
    assert complaint in reply["error"]["text"]
    assert "rlllm-broken-fixture 0.1.0" in reply["error"]["text"]


def test_two_packages_that_claim_one_name_are_both_named_and_nothing_else_suffers(plugins: Path, rival: Path) -> None:
    reply = ask(
        """
        answer(error=error_of(lambda: compose("vowels")), names=REWARDS.names().count("vowels"),
               exact=compose("exact").score([Sample("q", "#### 7", "7")]).totals,
               path=compose("rlllm_rival_fixture:vowels").score([Sample("q", "yes")]).totals)
        """,
        plugins,
        rival,
    )
    assert reply["error"]["type"] == "PluginError"
    assert reply["error"]["code"] == 3
    assert "two plugins claim the reward vowels" in reply["error"]["text"]
    assert "rlllm-plugin-fixture 0.3.0 and rlllm-rival-fixture 0.2.0" in reply["error"]["text"]
    assert (reply["names"], reply["exact"], reply["path"]) == (2, [1.0], [2.0])


def test_without_the_packages_their_names_are_unknown() -> None:
    reply = ask('answer(error=error_of(lambda: compose("vowels")))')
    assert reply["error"]["type"] == "UnknownNameError"
    assert reply["error"]["code"] == 2


def test_the_command_line_lists_installed_rewards_and_plans_with_them(plugins: Path) -> None:
    listed = run(["-m", "rlllm_cli", "rewards", "ls"], plugins)
    assert listed.returncode == 0, listed.stderr
    assert all(name in listed.stdout for name in ("vowels", "cracked", "rlllm-plugin-fixture 0.3.0"))
    planned = run(["-m", "rlllm_cli", "reason", "--dry-run", "data=echo", "method=lite-grpo"], plugins)
    assert planned.returncode == 0, planned.stderr
    assert all(part in planned.stdout + planned.stderr for part in ("vowels", "echo", "lite-grpo"))


def test_the_command_line_exits_with_3_for_a_broken_plugin_and_2_for_a_misspelt_one(plugins: Path) -> None:
    broken = run(["-m", "rlllm_cli", "reason", "--dry-run", "--reward", "cracked"], plugins)
    assert broken.returncode == 3
    assert "rlllm-broken-fixture 0.1.0" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert run(["-m", "rlllm_cli", "reason", "--dry-run", "--reward", "vowel"], plugins).returncode == 2
