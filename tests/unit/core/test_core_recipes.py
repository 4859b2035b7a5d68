"""Finding recipes by name, in plugins and as files. The plugins are folders with real entry-point metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlllm.core.errors import ConfigError, PluginError, UnknownNameError
from rlllm.core.recipes import (
    BUILT_IN,
    RecipeEntry,
    builtin_folder,
    find_recipe,
    list_recipes,
    read_recipe,
    usage,
)

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a plugin distribution with recipe files on the path."""

    def put(name: str, recipes: dict[str, str], package: str | None = None) -> Path:
        place = tmp_path / name
        info = place / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[rlllm.recipes]\n{name} = {package or name}\n")
        for recipe, text in recipes.items():
            path = place / name / recipe
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if recipes:
            (place / name / "__init__.py").write_text("raise RuntimeError('listing imports nothing')")
        monkeypatch.syspath_prepend(str(place))
        return place / name

    return put


def foreign() -> list[RecipeEntry]:
    return [entry for entry in list_recipes() if entry.origin != BUILT_IN]


def test_a_plugins_recipes_are_listed_without_importing_it(install: Install) -> None:
    folder = install("pluga", {"reason/zebra.yaml": "# Stripes.\nmodel: nano\n", "align/ant.yml": "seed: 1\n"})
    assert foreign() == [
        RecipeEntry("align/ant", "align", folder / "align" / "ant.yml", "", "pluga 1.0"),
        RecipeEntry("reason/zebra", "reason", folder / "reason" / "zebra.yaml", "Stripes.", "pluga 1.0"),
    ]


@pytest.mark.parametrize(
    ("ref", "stage"),
    [("reason/zebra", None), ("zebra", None), ("zebra", "reason"), ("reason/zebra", "reason")],
)
def test_a_name_is_found_with_and_without_its_stage(ref: str, stage: str | None, install: Install) -> None:
    install("pluga", {"reason/zebra.yaml": ""})
    assert find_recipe(ref, stage).name == "reason/zebra"


def test_a_misspelt_name_gets_a_suggestion_of_the_same_stage(install: Install) -> None:
    install("pluga", {"reason/zebra.yaml": "", "align/zebras.yaml": ""})
    with pytest.raises(UnknownNameError) as caught:
        find_recipe("zebrra", "reason")
    assert caught.value.hint == "did you mean zebra?"


def test_a_recipe_of_another_stage_says_how_to_run_it(install: Install) -> None:
    install("pluga", {"align/ant.yaml": ""})
    with pytest.raises(ConfigError, match="a recipe for align, not for reason") as caught:
        find_recipe("align/ant", "reason")
    assert caught.value.hint == "type rlllm align ant"


def test_a_bare_name_that_several_stages_have_lists_them(install: Install) -> None:
    install("pluga", {"align/zebra.yaml": "", "reason/zebra.yaml": ""})
    with pytest.raises(ConfigError, match="several stages") as caught:
        find_recipe("zebra")
    assert caught.value.exists == ["align/zebra", "reason/zebra"]


def test_two_plugins_that_claim_a_name_are_both_named(install: Install) -> None:
    install("pluga", {"reason/zebra.yaml": ""})
    install("plugb", {"reason/zebra.yaml": ""})
    with pytest.raises(PluginError) as caught:
        find_recipe("reason/zebra")
    assert "pluga 1.0 and plugb 1.0" in str(caught.value)


@pytest.mark.parametrize("package", ["nowhere_to_be_found", "no.parent.either", "..", "json"])
def test_a_plugin_without_a_folder_does_no_harm(package: str, install: Install) -> None:
    install("broken", {}, package=package)
    assert foreign() == []


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("# rlllm reason mine.yaml\nseed: 1\n", "reason"),
        ("# My thing.\n#   Run with: rlllm train-rm x\n", "train-rm"),
        ("# rlllm run this.yaml\n", "pipelines"),
        ("# rlllm demo\n", "pipelines"),
        ("# What rlllm does here: rlllm align mine.yaml\n", "align"),
        ("seed: 1\n# rlllm reason later.yaml\n", ""),
        ("# Needs rlllm on one GPU.\n", ""),
        ("seed: 1\n", ""),
    ],
)
def test_the_stage_of_a_file_is_in_its_head_comment(text: str, stage: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert find_recipe(str(tmp_path / "mine.yaml")).stage == stage


def test_a_file_in_a_recipes_folder_belongs_to_the_stage_of_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "recipes" / "align" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("seed: 1\n")
    assert find_recipe(str(path)).stage == "align"
    assert find_recipe(str(path), "reason").stage == "reason"


def test_a_missing_file_suggests_the_recipe_of_that_name(install: Install) -> None:
    install("pluga", {"reason/zebra.yaml": ""})
    with pytest.raises(ConfigError, match="no such recipe file") as caught:
        find_recipe("reason/zebra.yaml", "reason")
    assert caught.value.hint == "did you mean the recipe reason/zebra?"


def test_usage_is_the_line_that_runs_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("# rlllm reason\n")
    entry = find_recipe(str(tmp_path / "mine.yaml"))
    assert usage(entry) == f"rlllm reason {tmp_path / 'mine.yaml'}"
    assert usage(RecipeEntry("pipelines/demo", "pipelines", tmp_path, "", BUILT_IN)) == "rlllm run demo"
    assert usage(RecipeEntry("align/dpo", "align", tmp_path, "", BUILT_IN)) == "rlllm align dpo"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds nothing"),
        (b"- a\n", "holds list"),
        (b"just words\n", "holds str"),
        (b"1: 2\n", "a recipe is a mapping of settings"),
        (b"a: [\n", "not valid YAML at line 2"),
        (b"a: \xff\xfe\n", "it is not UTF-8 text"),
    ],
)
def test_what_is_no_mapping_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_recipe_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the recipe: No such file or directory"):
        read_recipe(tmp_path / "mine.yaml")


def test_the_shipped_recipes_lie_in_one_folder_by_stage() -> None:
    shipped = [entry for entry in list_recipes() if entry.origin == BUILT_IN]
    assert all(entry.path.is_relative_to(builtin_folder()) for entry in shipped)
    assert all(entry.summary for entry in shipped), "the first comment line is the summary"
