"""Attribution of a plugin's exceptions: its name, file and line, and the attributes that exist."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, PluginError
from rlllm.core.plugin_errors import PluginPlace, plugin_boundary, plugin_place, public_attributes
from rlllm.core.records import Sample, Score, prompt_text
from rlllm.core.registry import Registry

PLUGIN = """
import json
import sys


class Engine:
    def __init__(self, limit=1):
        self.limit = limit

    def generate(self, text):
        return json.loads(text)

    def leave(self):
        sys.exit(0)


def misspelt(sample):
    return sample.compleiton


def column(sample):
    return sample.meta["levl"]


def interrupted(sample):
    raise KeyboardInterrupt
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Any:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return lambda name: Registry("engine", "rlllm.engines", {}).load(f"{path}:{name}")


def test_an_exception_names_the_plugin_its_file_and_the_line_of_its_innermost_frame(plugin: Any) -> None:
    engine = plugin("Engine")()
    with pytest.raises(PluginError) as caught, plugin_boundary("engine", "mine.py:Engine", engine):
        engine.generate("{")
    assert caught.value.what.startswith("the engine mine.py:Engine raised JSONDecodeError: ")
    assert caught.value.what.endswith("(mine.py, line 11)")
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)


def test_a_misspelt_attribute_of_a_record_lists_those_that_exist(plugin: Any) -> None:
    reward = plugin("misspelt")
    with pytest.raises(PluginError) as caught, plugin_boundary("reward", "mine.py:misspelt", reward):
        reward(Sample("p", "c"))
    assert caught.value.exists == ["prompt", "completion", "answer", "meta", "tokens", "truncated", "messages"]
    assert caught.value.hint == "did you mean completion?"
    assert caught.value.what.endswith("(mine.py, line 18)")


def test_a_missing_key_lists_those_of_the_row(plugin: Any) -> None:
    reward = plugin("column")
    keys = ("level", "topic")
    with pytest.raises(PluginError) as caught, plugin_boundary("reward", "mine.py:column", reward, keys=keys):
        reward(Sample("p", "c", meta={"level": 1, "topic": 2}))
    assert caught.value.exists == ["level", "topic"]
    assert caught.value.hint == "did you mean level?"


def test_a_call_that_never_reaches_the_plugins_code_names_the_line_of_its_definition(plugin: Any) -> None:
    kind = plugin("Engine")
    with (
        pytest.raises(PluginError, match=r"unexpected keyword.* \(mine.py, line 6\)"),
        plugin_boundary("engine", "e", kind),
    ):
        kind(temperature=1)
    reward = partial(plugin("misspelt"), limit=2)
    with pytest.raises(PluginError, match=r"\(mine.py, line 17\)"), plugin_boundary("reward", "r", reward):
        reward(Sample("", ""))


def test_our_errors_and_an_interrupt_pass_unchanged_and_an_exit_does_not(plugin: Any) -> None:
    with pytest.raises(ConfigError, match=r"^as it was$"), plugin_boundary("reward", "mine", plugin("misspelt")):
        raise ConfigError("as it was")
    with pytest.raises(KeyboardInterrupt), plugin_boundary("reward", "mine", plugin("interrupted")):
        plugin("interrupted")(Sample("", ""))
    with pytest.raises(PluginError, match="SystemExit: 0"), plugin_boundary("engine", "mine", plugin("Engine")()):
        plugin("Engine")().leave()


def test_the_caller_chooses_the_class_the_phrase_and_the_hint_of_the_error(plugin: Any) -> None:
    kind = plugin("Engine")
    with (
        pytest.raises(ConfigError) as caught,
        plugin_boundary("engine", "mine", kind, error_type=ConfigError, phrase="does not begin:", given=3, hint="try"),
    ):
        kind(1, 2, 3)
    assert caught.value.what.startswith("the engine mine does not begin: TypeError: ")
    assert (caught.value.given, caught.value.hint) == (3, "try")


def test_an_exception_of_our_own_code_is_not_blamed_on_a_plugin() -> None:
    with pytest.raises(TypeError), plugin_boundary("reward", "exact", Score):
        Score()  # type: ignore[call-arg]


def test_the_frames_of_the_caller_are_not_the_plugins() -> None:
    with pytest.raises(TypeError) as caught:
        prompt_text(3)  # type: ignore[arg-type]
    assert plugin_place(caught.value) is None


def test_a_place_reads_as_file_and_line() -> None:
    assert str(PluginPlace("/a/b/mine.py", 7)) == "mine.py, line 7"


def test_fields_come_first_and_other_packages_attributes_are_left_out() -> None:
    from rlllm.rollouts.config import SamplingConfig

    names = public_attributes(SamplingConfig)
    assert names[: len(SamplingConfig.model_fields)] == [*SamplingConfig.model_fields]
    assert "model_dump" not in names


def test_a_file_that_does_not_import_names_the_line_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import json\n\nLIMIT = json.loads('{')\n")
    with pytest.raises(ConfigError, match=r"does not import: JSONDecodeError: .* \(broken.py, line 3\)"):
        Registry("engine", "rlllm.engines", {}).load(f"{path}:Engine")
