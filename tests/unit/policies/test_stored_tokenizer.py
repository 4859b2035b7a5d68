"""`StoredTokenizer` gives what transformers gives of the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trl
from transformers import AutoTokenizer

from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import DataError
from rlllm.core.runs import write_json
from rlllm.policies.chat import encode_prompts, end_of_turn, renders_reasoning, renders_tools
from rlllm.policies.stored_tokenizer import StoredTokenizer
from rlllm.stages import reason, sft
from rlllm.stages.catalog import resolve_settings
from rlllm.training.row_checks import look_at_templates

TEMPLATES = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
OWN = {
    "nano": None,
    "generation": "{% for m in messages %}[{{ m['role'] }}]{% generation %}{{ m['content'] }}{{ eos_token }}"
    "{% endgeneration %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
    "loop control": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}\n  {{ m.content | trim }}\n"
    "{% endfor %}{{ tools | tojson if tools else '' }}{{ {'b': 'ü', 'a': [1]} | tojson(indent=2) }}",
    "reasoning": "{% for m in messages %}{{ m.reasoning_content or m.thinking or '' }}{{ m.content }}{% endfor %}",
}
CONVERSATIONS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "What is 1 + 1?"}],
    [{"role": "system", "content": "Be short."}, {"role": "user", "content": "  Hi <b> & ü\n"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "reasoning": "thought"},
        {"role": "user", "content": "c"},
    ],
]
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}


def stored(folder: Path, template: str | None) -> tuple[Any, StoredTokenizer]:
    tokenizer = build_tokenizer()
    tokenizer.bos_token = "<|system|>"
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder), StoredTokenizer(folder)


ALL = {**OWN, **{path.stem: path.read_text(encoding="utf-8") for path in TEMPLATES}}


@pytest.mark.parametrize("name", ALL)
def test_texts_and_ids_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    theirs, ours = stored(tmp_path, ALL[name])
    assert ours.chat_template == theirs.chat_template
    assert ours.eos_token_id == theirs.eos_token_id
    assert end_of_turn(ours) == end_of_turn(theirs)
    for conversation in CONVERSATIONS:
        for more in ({}, {"tools": [TOOL]}, {"enable_thinking": False}):
            for opened in (False, True):
                options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": opened, **more}
                rendered = [outcome(each, conversation, options) for each in (theirs, ours)]
                assert rendered[0] == rendered[1]
    assert ours("a b\n")["input_ids"] == theirs("a b\n")["input_ids"]
    ids = theirs(["x", "12 + 3"], add_special_tokens=False)["input_ids"]
    assert ours(["x", "12 + 3"], add_special_tokens=False)["input_ids"] == ids
    assert ours.decode(ids[1]) == theirs.decode(ids[1])
    prompts = ["What is 1 + 1?", "b"]
    assert encode_prompts(ours, prompts) == encode_prompts(theirs, prompts)


def outcome(tokenizer: Any, conversation: list[dict[str, Any]], options: dict[str, Any]) -> str:
    """The rendered text, or the kind of error."""
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(conversation, **options))
    except TemplateError:
        return "refused"


def test_traits_of_templates_are_found(tmp_path: Path) -> None:
    _, ours = stored(tmp_path, OWN["reasoning"])
    assert (renders_reasoning(ours), renders_tools(ours)) == (True, False)


NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
)


def planned(tiny_model: str, folder: Path, template: str, verb: str = "sft", **settings: Any) -> Any:
    """A plan on a copy of a model with another chat template."""
    import shutil

    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text(template)
    data = {"name": "arithmetic", "rows": 8, "holdout": 0, **settings}
    config: Any = resolve_settings(verb, {"model": str(folder), "data": data}, [])
    return {"sft": sft, "reason": reason}[verb].plan(config)


@pytest.mark.parametrize("verb", ["sft", "reason"])
def test_a_row_that_the_template_refuses_is_found_without_weights(tiny_model: str, tmp_path: Path, verb: str) -> None:
    plan = planned(tiny_model, tmp_path / "m", NO_SYSTEM, verb, system_prompt="Be short.")
    with pytest.raises(DataError, match="the chat template refuses row 1: no system role"):
        look_at_templates(plan)


def test_a_template_without_an_end_is_found_without_weights(tiny_model: str, tmp_path: Path) -> None:
    plan = planned(tiny_model, tmp_path / "m", "{% for m in messages %}{{ m['content'] }}{% endfor %}")
    (finding,) = look_at_templates(plan)
    assert "writes no end token" in finding


def test_files_that_cannot_be_read_are_left_to_the_run(tiny_model: str, tmp_path: Path) -> None:
    plan = planned(tiny_model, tmp_path / "m", "{% for m in messages %}")
    assert look_at_templates(plan) == []
    write_json(tmp_path / "m" / "tokenizer.json", {})
    assert look_at_templates(plan) == []
