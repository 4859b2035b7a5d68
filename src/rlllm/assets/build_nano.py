"""The untrained beginning of `nano`: a byte-level tokenizer and a small Llama with seeded random weights.

Run as `python -m rlllm.assets.build_nano FOLDER`; `make nano` then trains that folder with `rlllm sft nano`. The
tokenizer has the 256 bytes and five marks and no merges, so any text can be written, and one byte is one token.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

PAD, END, SYSTEM, USER, ASSISTANT = SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
CONTEXT = 512
SEED = 0
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'assistant' -%}"
    "<|assistant|>{% generation %}"
    "{%- if message.tool_calls -%}"
    "{{ message.content or '' }}"
    "{%- for call in message.tool_calls -%}"
    "<<{{ call.function.name }}"
    "{%- for key, value in call.function.arguments.items() -%}"
    "{{ ' ' if loop.first else ';' }}{{ key }}={{ value }}"
    "{%- endfor -%}>>"
    "{%- endfor -%}"
    "{%- else -%}{{ message.content }}{%- endif -%}"
    "<|end|>{% endgeneration %}"
    "{%- elif message.role == 'tool' -%}"
    "<|system|>={{ message.content }}"
    "{%- elif message.role in ('system', 'user') -%}"
    "{{ '<|' ~ message.role ~ '|>' ~ message.content }}"
    "{%- else -%}"
    "{{ raise_exception('nano knows the roles system, user, assistant and tool, not ' ~ message.role) }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)
"""Chat messages as text. A tool is called by `<<name key=value;key=value>>`, in so few bytes because a byte is a token; its
result is a system turn that begins with `=`. The vocabulary has no mark to spare, and schemas of tools are not shown: nano
knows a tool from examples or not at all."""
RESPONSE_TEMPLATE: dict[str, Any] = {
    "defaults": {"role": "assistant"},
    "start_anchor": ASSISTANT,
    "fields": {
        "tool_calls": {
            "open_pattern": r"<<(?P<name>\w+) ?",
            "close": ">>",
            "repeats": True,
            "content": "xml-inline",
            "content_args": {"tag_pattern": r"(?P<key>\w+)=(?P<value>[^;]*)", "value_parser": {"name": "text"}},
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {"close": END, "content": "text", "content_args": {"strip": False}},
    },
}
"""How transformers reads a turn back into a message with tool calls; the other half of `CHAT_TEMPLATE`."""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level tokenizer: ids 0-255 are the bytes, then pad, end (of turn and of sequence) and the three roles."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {symbol: byte for byte, symbol in enumerate(_byte_symbols())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=[SYSTEM, USER, ASSISTANT],
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
        response_template=RESPONSE_TEMPLATE,
    )


def build_model(seed: int = SEED) -> LlamaForCausalLM:
    """Llama with tied embeddings, random weights from `seed`, in float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=256 + len(SPECIAL),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.08,
        bos_token_id=None,
        eos_token_id=256 + SPECIAL.index(END),
        pad_token_id=256 + SPECIAL.index(PAD),
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config.do_sample = True
    return model


def build(folder: Path) -> None:
    """Write the untrained model and its tokenizer in Hugging Face format."""
    folder.mkdir(parents=True, exist_ok=True)
    build_tokenizer().save_pretrained(folder)
    build_model().save_pretrained(folder)


def _byte_symbols() -> list[str]:
    """The printable character that stands for each byte in byte-level vocabularies (GPT-2's table)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    shifted = iter(range(256, 512))
    return [chr(byte if byte in printable else next(shifted)) for byte in range(256)]


if __name__ == "__main__":
    build(Path(sys.argv[1]))
