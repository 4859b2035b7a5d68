"""Whether a model's tokenizer, template and generation config go together, without its weights: `rlllm doctor --model`."""

from __future__ import annotations

from typing import Any

from rlllm.core.records import Conversation
from rlllm.policies import chat
from rlllm.policies.model_sources import ModelSource, resolve_model
from rlllm.policies.template_check import template_findings

_EXAMPLE = Conversation("What is 2 + 2?", "2 + 2 = 4\n#### 4")


def check_model(reference: str) -> tuple[dict[str, str], list[str]]:
    """What a model says of itself, and what is wrong with it.

    Args:
        reference: as `--model` takes it.

    Returns:
        Name -> text; and warnings, one sentence each.

    Raises:
        ModelError: there is no such model, or its tokenizer does not load.
    """
    from rlllm.policies.loading import load_tokenizer

    source = resolve_model(reference)
    tokenizer = load_tokenizer(source)
    stops = chat.stop_ids(_Configured(_generation_config(source)), tokenizer)
    end, warnings = chat.end_of_turn(tokenizer), []
    configured = chat.stop_ids(_Configured(_generation_config(source)), _WithoutTemplate(tokenizer))
    if not stops:
        warnings.append(f"{source.name} has no token that ends a completion: every one is sampled to the length limit")
    if end is not None and end not in configured:
        warnings.append(
            f"the chat template of {source.name} ends a turn with {tokenizer.convert_ids_to_tokens(end)}, which is no stop "
            "token of its generation config: rlllm adds it, other programs sample on"
        )
    if chat.is_chat(tokenizer) and end is None:
        warnings.append(f"the chat template of {source.name} writes no special token behind an answer")
    warnings += template_findings(tokenizer, [_EXAMPLE], stops, writes=True)
    count = source.parameter_count()
    return {
        "model": f"{source.name} ({source.kind}), {f'{count:,}' if count else 'unknown number of'} parameters",
        "context": f"{source.context_length() or 'not stated'}",
        "chat template": "yes" if chat.is_chat(tokenizer) else "none: prompts are plain text",
        "ends at": ", ".join(str(tokenizer.convert_ids_to_tokens(stop)) for stop in sorted(stops)) or "nothing",
        "padding": str(tokenizer.pad_token),
    }, warnings


class _Configured:
    """What `stop_ids` reads of a model."""

    def __init__(self, generation_config: Any) -> None:
        self.generation_config = generation_config


class _WithoutTemplate:
    """What `stop_ids` reads of a tokenizer that has no template."""

    chat_template = None

    def __init__(self, tokenizer: Any) -> None:
        self.eos_token_id = tokenizer.eos_token_id


def _generation_config(source: ModelSource) -> Any:
    """The generation config of a model, without its weights; None where it has none."""
    from transformers import GenerationConfig

    whole = source.whole
    try:
        return GenerationConfig.from_pretrained(whole.path, revision=whole.revision)
    except OSError:
        return None
