"""TRL's dictionary of a rollout or micro-batch: the tensors that several places read in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

MULTIMODAL = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)
"""What TRL's dictionary has of images."""


def loss_mask(output: Mapping[str, Any]) -> Tensor:
    """(B, T) 0/1: the completion tokens that the loss counts; padding, tool output and masked tokens are 0."""
    mask = output["completion_mask"]
    return mask * output["tool_mask"] if "tool_mask" in output else mask


def prompts_with_completions(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, both (B, P + T)."""
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    return ids, torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)


def take_rows(output: Mapping[str, Any], rows: Tensor) -> dict[str, Any]:
    """The rows of these indices; what has no entry for each row is passed on as it is."""
    size = output["completion_ids"].size(0)
    return {
        key: value.index_select(0, rows)
        if isinstance(value, Tensor) and value.dim() > 0 and value.size(0) == size
        else value
        for key, value in output.items()
    }
