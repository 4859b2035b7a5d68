"""Adapters become whole models, and a saved model is compared with the one that was trained.

A weight that two modules share, such as the embedding of a tied model, cannot take the change of one of them: the other would
compute with it, too. Such a weight is untied before the adapter is merged.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from rlllm.core.errors import ModelError, describe

FIRST = "default"
"""PEFT's name of the adapter that a model was made with."""
_ROWS, _TOKENS = 3, 12
_ALLOWED = {4: 1e-3, 2: 5e-2}
"""Bytes of a weight -> largest difference of an output, as a share of the largest output and 1."""


def with_adapter(model: Any, folder: str) -> Any:
    """A model with the adapter of a folder merged into its weights.

    Raises:
        ModelError: the adapter does not fit the model, is of a kind that is no change of weights, or computes something else
            once it is merged.
    """
    adapted = put_on(model, folder)
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise ModelError(
            "adapters of this kind are no change of weights and cannot be merged into a model",
            given=f"{folder} ({adapted.peft_config['default'].peft_type})",
            hint="name an adapter of low rank (LoRA)",
        )
    expected = sample_outputs(adapted)
    whole = merged(adapted).requires_grad_(True)  # PEFT froze the base
    refuse_difference("merging the adapter", expected, sample_outputs(whole), whole, Path(folder))
    whole.name_or_path = whole.config.name_or_path = folder  # by which an adapter that is trained on it names its base
    return whole


def put_on(model: Any, folder: str, name: str = FIRST) -> Any:
    """A model with the adapter of a folder on it under this name, not merged; other adapters on it stay.

    Raises:
        ModelError: the adapter does not fit the model.
    """
    from peft import PeftConfig, PeftModel

    try:
        if isinstance(model, PeftModel):
            model.load_adapter(folder, adapter_name=name)
            return model
        config = PeftConfig.from_pretrained(folder)
        if config.task_type == "CAUSAL_LM" and not hasattr(model, "prepare_inputs_for_generation"):
            config.task_type = None  # its base under the new head of a reward model: nothing there generates
        return PeftModel.from_pretrained(model, folder, adapter_name=name, config=config)
    except (ValueError, RuntimeError, KeyError, TypeError, OSError) as error:
        raise ModelError(
            f"the adapter does not load onto its base: {describe(error)[:300]}",
            given=folder,
            hint="name the model that it was trained on: model.base=MODEL",
        ) from error


def save_adapter(model: Any, folder: Path, name: str = FIRST) -> None:
    """Write an adapter, which names its base by an absolute path, so that it is found from any directory.

    Args:
        name: of the adapter on the model. One that is not PEFT's first stands in a folder of its name.
    """
    settings = model.peft_config[name]
    base = settings.base_model_name_or_path
    if base and Path(base).exists():
        settings.base_model_name_or_path = str(Path(base).resolve())
    place = folder if name == FIRST else folder.parent
    model.save_pretrained(place, selected_adapters=[name])
    (place / "README.md").unlink(missing_ok=True)  # PEFT's empty model card


def merged(model: Any) -> Any:
    """The model under a PEFT adapter, with the adapter merged into its weights. Shared weights that it changes are untied."""
    if _untie(model):
        base = model.get_base_model()
        for config in (base.config, base.config.get_text_config()):
            config.tie_word_embeddings = False
    return model.merge_and_unload()


def _untie(model: Any) -> bool:
    """Give each adapted module a weight of its own where it shares one; returns whether any did."""
    owners: dict[int, list[Any]] = defaultdict(list)
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners[id(parameter)].append(module)
    changed = False
    for adapted in [module for module in model.modules() if hasattr(module, "base_layer")]:
        layer = adapted.base_layer
        weight = getattr(layer, "weight", None)
        if weight is not None and len(owners[id(weight)]) > 1:
            layer.weight = type(weight)(weight.detach().clone(), requires_grad=weight.requires_grad)
            owners[id(weight)].remove(layer)
            changed = True
    return changed


def sample_outputs(model: Any) -> Any:
    """Outputs of a model on a few rows of tokens, the special ones among them, in float32 on the CPU.

    None where its weights are spread over several processes.

    The model is used in evaluation mode and left in the mode it was in.
    """
    import torch

    embedding = model.get_input_embeddings()
    size = getattr(embedding, "num_embeddings", None) or model.config.get_text_config().vocab_size
    if any(parameter.numel() == 0 for parameter in model.parameters()):
        return None
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(size, (_ROWS, _TOKENS), generator=generator)
    rows[1] = torch.arange(size - _TOKENS, size).clamp(min=0)  # added tokens stand at the end of a vocabulary
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            ids = rows.to(next(model.parameters()).device)
            return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits.float().cpu()
    finally:
        model.train(was_training)


_HEADS = {
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForTokenClassification": "AutoModelForTokenClassification",
}
"""End of a class's name -> the class that loads such a model."""


def head_of(model: Any) -> str | None:
    """The end of the name of a model's class, where it scores and does not write."""
    return next((end for end in _HEADS if type(model).__name__.endswith(end)), None)


def loader_of(model: Any) -> Any:
    """The class of transformers that loads a model like this one."""
    import transformers

    head = head_of(model)
    if head is not None:
        return getattr(transformers, _HEADS[head])
    writes = "AutoModelForImageTextToText" if hasattr(model.config, "vision_config") else "AutoModelForCausalLM"
    return getattr(transformers, writes)


def runs_own_code(model: Any) -> bool:
    """Whether the class of a loaded model comes from its repository: then its code was trusted, and runs already."""
    return type(model).__module__.startswith("transformers_modules.")


def loaded_again(model: Any, folder: Path) -> Any:
    """The model as other verbs load it from a folder, in the precision of this one."""
    try:
        settings = {"dtype": model.dtype, "use_safetensors": True}
        again = loader_of(model).from_pretrained(folder, trust_remote_code=runs_own_code(model), **settings)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"the saved model does not load: {describe(error)[:300]}", given=folder) from error
    return again.to(next(model.parameters()).device)


def refuse_difference(
    step: str, expected: Any, given: Any, model: Any, folder: Path, allowed: float | None = None
) -> None:
    """Raise ModelError where outputs differ by more than rounding.

    Args:
        step: what happened between the two, as the subject of a sentence.
        expected: `sample_outputs` before; None compares nothing.
        given: the same afterwards.
        model: whose precision says how much rounding there is.
        folder: for the message.
        allowed: largest difference as a share of the largest output and 1; None takes that of the model's precision.
    """
    if (
        expected is None or given is None or not bool(expected.isfinite().all())
    ):  # a diverged model is the verdict's to say
        return
    difference, scale = float((expected - given).abs().max()), float(expected.abs().max())
    coarsest = min(parameter.element_size() for parameter in model.parameters() if parameter.is_floating_point())
    allowed = _ALLOWED.get(coarsest, 5e-2) if allowed is None else allowed
    if difference <= allowed * (1 + scale):
        return
    raise ModelError(
        f"{step} changed what the model computes: outputs of up to {scale:.3g} differ by {difference:.3g}",
        given=folder,
        hint="the trained weights are in the last checkpoint, and with lora in the folder adapter",
    )
