"""`rlllm config import` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Rlllm

CONFIGS = Path(__file__).parents[1] / "fixtures" / "configs"
TRL_DPO = CONFIGS / "trl" / "dpo_lora.yaml"


def test_a_recipe_is_written_and_passes_the_check(rlllm: Rlllm, tmp_path: Path) -> None:
    said = rlllm("config", "import", "--from", "trl", str(TRL_DPO), "--out", "mine.yaml")
    assert said.code == 0, said.err
    assert said.out == "mine.yaml\n"
    assert said.err.splitlines() == [
        "not carried over: max_prompt_length=512: prompts are never cut: drop long ones from the data",
        "check it with: rlllm align mine.yaml --dry-run",
    ]
    assert rlllm("recipes check mine.yaml").out == "ok  mine.yaml\n"
    assert rlllm("config", "import", "--from", "trl", str(TRL_DPO), "--out", "mine.yaml").code == 2


def test_a_recipe_is_printed_where_no_file_is_named(rlllm: Rlllm) -> None:
    said = rlllm("config", "import", "--from", "trl", str(TRL_DPO))
    assert said.out.startswith("# Imported from TRL: dpo_lora.yaml\n#\n#   rlllm align FILE\n")
    assert "method: dpo" in said.out.splitlines()


def test_one_document_holds_the_recipe_and_the_rest(rlllm: Rlllm) -> None:
    said = rlllm("config", "import", "--from", "axolotl", str(CONFIGS / "axolotl" / "orpo.yml"), "--json")
    assert said.json["verb"] == "align"
    assert said.json["recipe"]["method"] == "orpo"
    assert [row["key"] for row in said.json["unmapped"]] == ["datasets.type", "remove_unused_columns", "chat_template"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "axolot", str(TRL_DPO)], "did you mean axolotl?"),
        (["--from", "trl", "none.yaml"], "cannot read the config"),
        (["--from", "trl", str(TRL_DPO), "--out", "mine.txt"], "a recipe file ends in .yaml"),
        (["--from", "trl", str(TRL_DPO), "--out", "no/such/folder/mine.yaml"], "cannot write the recipe"),
        (["--from", "trl", str(TRL_DPO), "--stage", "pretrain"], "no command pretrain"),
        ([str(TRL_DPO)], "--from"),
    ],
)
def test_what_cannot_be_imported_is_one_screen(rlllm: Rlllm, words: list[str], message: str) -> None:
    said = rlllm("config", "import", *words)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
