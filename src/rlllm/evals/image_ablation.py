"""Image ablation: the same questions without their images, or with those of another row.

A model that answers as well as before did not look. Swapped images keep what a guess is worth: of a question with two answers,
half of the other rows' images have the same one. They are the control that a model has to beat; removed images also show what
it makes of a prompt of a kind that it never saw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from rlllm.core.images import image_digest
from rlllm.core.records import Prompt, PromptTask, images_of

Ablation = Literal["swapped", "removed"]


def with_images(tasks: Sequence[PromptTask]) -> list[int]:
    """Places of the tasks whose prompt has an image."""
    return [place for place, task in enumerate(tasks) if images_of(task.prompt)]


def swapped(tasks: Sequence[PromptTask]) -> list[PromptTask]:
    """The tasks, each with the images of the next one that has as many and not the same; unchanged where there is none."""
    by_number: dict[int, list[int]] = defaultdict(list)
    contents = [[image_digest(image) for image in images_of(task.prompt)] for task in tasks]
    for place, images in enumerate(contents):
        by_number[len(images)].append(place)
    changed = list(tasks)
    for number, places in by_number.items():
        for at, place in enumerate(places if number else ()):
            others = (places[(at + step) % len(places)] for step in range(1, len(places)))
            other = next((other for other in others if contents[other] != contents[place]), place)
            changed[place] = replace(tasks[place], prompt=_with(tasks[place].prompt, images_of(tasks[other].prompt)))
    return changed


def removed(tasks: Sequence[PromptTask]) -> list[PromptTask]:
    """The tasks without their images."""
    return [replace(task, prompt=_with(task.prompt, [])) for task in tasks]


ABLATIONS: Mapping[Ablation, Callable[[Sequence[PromptTask]], list[PromptTask]]] = {
    "swapped": swapped,
    "removed": removed,
}


def _with(prompt: Prompt, images: Sequence[str]) -> Prompt:
    """The prompt with these images in the place of its own, in order; image parts beyond them are left out."""
    if isinstance(prompt, str):
        return prompt
    others, messages = iter(images), []
    for message in prompt:
        content = message["content"]
        if not isinstance(content, str):
            parts = []
            for part in content:
                image = next(others, None) if part["type"] == "image" else None
                if image is not None:
                    parts.append({"type": "image", "image": image})
                elif part["type"] == "text":
                    parts.append(part)
            only_text = all(part["type"] == "text" for part in parts)
            content = "\n".join(part["text"] for part in parts) if only_text else parts
        messages.append({**message, "content": content})
    return messages
