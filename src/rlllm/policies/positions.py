"""Whether a model has a table of positions. With rotary positions it has none, and reads on beyond its context, untrained."""

from __future__ import annotations

from typing import Any


def position_table(model: Any) -> int | None:
    """Tokens of the longest row that a table of learned positions allows (GPT-2, OPT, BERT); None for a model without one."""
    from torch import nn

    reads_images = hasattr(
        getattr(model, "config", None), "vision_config"
    )  # its tower has a table of places in an image
    for name, module in (model.get_decoder() if reads_images else model).named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding) and (last == "wpe" or "position" in last):
            offset = getattr(module, "offset", None)  # OPT keeps its first rows free
            if offset is None:
                offset = (
                    0 if module.padding_idx is None else module.padding_idx + 1
                )  # RoBERTa counts on behind its padding
            return int(module.num_embeddings - offset)
    return None
