"""What the trainer does where prompts have images: TRL's own generation sees them, and every forward pass of ours does, too.

TRL keeps the pixels of a rollout in one tensor for all images, which cannot be cut into rows without knowing the model's
family. A rollout that is cut into groups therefore leaves them behind, and one that is put together gets them anew from its
prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from rlllm.algorithms.forward_pass import Pass, Window, plain_pass
from rlllm.algorithms.rollout import Rollout
from rlllm.core.errors import ConfigError
from rlllm.core.records import Prompt, PromptTask, has_images, images_of
from rlllm.policies.chat import as_prompt, encode_prompts
from rlllm.policies.vision import image_inputs, in_parts, opened


class ImageRollouts:
    """Mixin before GRPOTrainer: wraps `_generate`."""

    tasks: Sequence[PromptTask]
    model: Any
    accelerator: Any
    temperature: float
    sampler: Any
    _tokenizer: Any

    def _generate(self, prompts: list[Any]) -> Any:
        """TRL writes None for a row without an image beside rows with images, which processors refuse; and nothing at all of
        the images that a `rollout_func` was given in its prompts."""
        *generated, _, tool_images = super()._generate(prompts)  # type: ignore[misc]
        images = [images_of(prompt) for prompt in prompts]
        return *generated, images if any(images) else None, tool_images

    def _as_shown(self, prompt: Prompt) -> Prompt:
        """A prompt as TRL takes it: with opened images in the place of references, where it has any."""
        messages = as_prompt(self._tokenizer, prompt)
        return opened(in_parts(messages)) if images_of(prompt) and not isinstance(messages, str) else messages

    def _has_images(self, rows: Sequence[int]) -> bool:
        return has_images(self.tasks[row] for row in rows)

    def _with_pixels(self, rollout: Rollout) -> Rollout:
        """A rollout that was put together of groups, with what TRL's loss reads of its images.

        Raises:
            ConfigError: a model whose pixels are tiles of images, or fill a row of the batch each.
        """
        if not self._has_images(rollout.rows):
            return rollout
        inputs = self._pixels(rollout.rows)
        counts = [len(images_of(self.tasks[row].prompt)) for row in rollout.rows]
        if "image_grid_thw" not in inputs and inputs["pixel_values"].size(0) != sum(counts):
            raise ConfigError(
                "groups of this model's images cannot be put together anew: it cuts images into tiles",
                given=type(self.model).__name__,
                hint="a sampler that neither samples again nor replays: sampler=shuffle",
            )
        return replace(rollout, output={**rollout.output, **inputs, "num_images": counts})

    def _pixels(self, rows: Sequence[int]) -> dict[str, Any]:
        """What the model takes beside token ids for the prompts of these rows of the data set."""
        shown = [self.sampler.show(row, self.tasks[row]) for row in rows]
        prompts = encode_prompts(self._tokenizer, shown, [self.tasks[row].meta for row in rows])
        return image_inputs(self._tokenizer, prompts, self.accelerator.device)

    def _passes_with_images(
        self, ids: Tensor, mask: Tensor, keep: int, rows_of: Sequence[int], *, rows: int, hidden_states: bool
    ) -> Iterator[Pass]:
        """Forward passes over the last `keep` tokens of (B, P + keep) rows whose prompts have images.

        Args:
            rows_of: B rows of the data set.
            rows: that pass together.
        """
        for start in range(0, len(rows_of), rows):
            part = slice(start, start + rows)
            window = Window(ids[part], mask[part], keep, keep)
            inputs = _whole_rows(self._pixels(rows_of[part]), window)
            yield plain_pass(self.model, window, self.temperature, hidden_states=hidden_states, inputs=inputs)


def _whole_rows(inputs: Mapping[str, Any], window: Window) -> dict[str, Any]:
    """Inputs with a value for each prompt token as (B, P + keep): 0 for padding and completion."""
    from torch.nn.functional import pad

    width = window.ids.size(1) - window.keep
    return {
        name: pad(value, (width - value.size(1), window.keep)) if name.endswith("token_type_ids") else value
        for name, value in inputs.items()
    }
