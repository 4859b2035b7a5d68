"""`nano-vision`: a LLaVA of nano's language model and a small CLIP tower with seeded random weights.

It reads pictures of 32 x 32 pixels as 16 tokens. Nothing of it ships: its folder is made from nano's, in seconds, when a model
of that name is first asked for. It knows the text that nano knows, and has to learn to see.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_IMAGE = "<image>"
"""The token that stands for a picture in a prompt; the processor repeats it for each of the picture's tokens."""
_PIXELS, _PATCH = 32, 8
_POSITIONS = 0.3
"""Standard deviation of the position embeddings: about that of the patch embeddings of a drawn picture. Beside CLIP's own, .02,
a patch hardly tells where it is, and sides are not learned."""
_SEED = 0
_CONTENT = "{{ '<|' ~ message.role ~ '|>' ~ message.content }}"
_PARTS = (
    "{{ '<|' ~ message.role ~ '|>' }}"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}"
    "{%- for part in message.content -%}{{ '<image>' if part.type == 'image' else part.text }}{%- endfor -%}"
    "{%- endif -%}"
)
_ANSWER = "{%- else -%}{{ message.content }}{%- endif -%}"
_ANSWER_PARTS = (
    "{%- elif message.content is string -%}{{ message.content }}"
    "{%- else -%}{%- for part in message.content -%}{{ part.text }}{%- endfor -%}{%- endif -%}"
)


def _processor(nano: Path) -> Any:
    """nano's tokenizer with a token for pictures, and an image processor; needs no torchvision."""
    from transformers import AutoTokenizer, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = AutoTokenizer.from_pretrained(nano, trust_remote_code=False)
    tokenizer.add_special_tokens({"extra_special_tokens": [*tokenizer.extra_special_tokens, _IMAGE]})
    template = tokenizer.chat_template.replace(_CONTENT, _PARTS).replace(_ANSWER, _ANSWER_PARTS)
    tokenizer.chat_template = template
    size = {"height": _PIXELS, "width": _PIXELS}
    return LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": _PIXELS}, crop_size=size),
        tokenizer,
        patch_size=_PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=_IMAGE,
        chat_template=template,
    )


def _model(folder: Path) -> Any:
    """The LLaVA: nano's weights in the language model, seeded random ones in tower and projector, in float32."""
    import torch
    from transformers import AutoModelForCausalLM, CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

    nano = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    text = nano.config.to_dict() | {"vocab_size": nano.config.vocab_size + 1}
    tower = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=_PIXELS,
        patch_size=_PATCH,
        projection_dim=64,
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=text,
        image_token_index=nano.config.vocab_size,
        image_seq_length=(_PIXELS // _PATCH) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        eos_token_id=nano.config.eos_token_id,
        pad_token_id=nano.config.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = LlavaForConditionalGeneration(config)
        torch.nn.init.normal_(model.model.vision_tower.embeddings.position_embedding.weight, std=_POSITIONS)
    known = nano.model.state_dict()
    rows = known.pop("embed_tokens.weight")
    own = model.model.language_model
    own.load_state_dict(known, strict=False)
    with torch.no_grad():
        own.embed_tokens.weight[: len(rows)] = rows
        own.embed_tokens.weight[len(rows) :] = rows.mean(0)
    model.tie_weights()
    model.generation_config = nano.generation_config
    return model


def build(folder: Path, nano: Path) -> None:
    """Write model and processor in Hugging Face format.

    Args:
        folder: to be made.
        nano: the folder of nano.
    """
    from transformers import logging

    logging.disable_progress_bar()  # a plan makes the model as well, and prints nothing but the plan
    folder.mkdir(parents=True)
    _processor(nano).save_pretrained(folder)
    _model(nano).save_pretrained(folder)
