"""Resolve model references. Imports no torch, so that a wrong reference fails at once."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rlllm.core.config import LoadingConfig, ModelConfig
from rlllm.core.errors import ConfigError, ModelError, closest, describe
from rlllm.core.records import fingerprint
from rlllm.core.runs import ENSEMBLE, file_hash, read_json
from rlllm.core.user_cache import cache_root
from rlllm.policies import nano_vision
from rlllm.policies.loading_checks import check_loading
from rlllm.policies.vocabulary import check_vocabulary

NANO = Path(__file__).resolve().parents[1] / "assets" / "nano"
NANO_VISION = "nano-vision"
_HEADS = ("score.weight", "classifier.weight")
_HUB_ID = re.compile(r"^(?P<id>[\w.-]+/(?P<name>[\w.-]+))(?:@(?P<revision>[\w./-]+))?$")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
ADAPTER = "adapter_config.json"
"""In a folder of PEFT's: what the adapter is, and the model it was trained on."""
_CLASSIFIERS = {"SEQ_CLS": "AdapterForSequenceClassification", "TOKEN_CLS": "AdapterForTokenClassification"}
"""PEFT's task type -> kind of architecture of the adapted model; of any other it is that of the base."""
_LARGEST_HEADER = 100_000_000
_SIZE_IN_NAME = re.compile(
    r"(?<![A-Za-z0-9.])(?:(?P<experts>\d+)x)?(?P<number>\d+(?:\.\d+)?)(?P<unit>[MBmb])(?![A-Za-z0-9])"
)
_UNITS = {"m": 10**6, "b": 10**9}


_AS_THE_DEVICE_HAS_IT = LoadingConfig()


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from.

    `path` is what `from_pretrained` takes: a folder, or a Hub id when `kind` is "hub".
    `base` is the model that an adapter was trained on, when `kind` is "adapter"; `path` is the adapter's folder then.
    `revision` is a branch, tag or commit of a Hub id; None is its default one.
    `loading` says in which numbers it is loaded, its base as well.
    `trusted` says that Python code in this repository may run; that of its base has its own word.
    """

    path: str
    kind: str
    name: str
    base: ModelSource | None = None
    revision: str | None = None
    loading: LoadingConfig = _AS_THE_DEVICE_HAS_IT
    trusted: bool = False

    @property
    def folder(self) -> Path | None:
        return None if self.kind == "hub" else Path(self.path)

    @property
    def whole(self) -> ModelSource:
        """The whole model under an adapter, or under adapters on one another; the model itself without any."""
        return self if self.base is None else self.base.whole

    def fingerprint(self) -> str | None:
        """Hash of the weights of a local model; None for a Hub id."""
        if self.folder is None:
            return None
        own = "-".join(file_hash(path)[:16] for path in sorted(self.folder.glob("*.safetensors"))) or None
        return own if self.base is None else f"{self.base.fingerprint()}-{own}"

    def parameter_count(self) -> int | None:
        """Parameters of the model, read from the headers of its weights; of a Hub id, what its name says (`Qwen2.5-0.5B`).

        None where neither tells.
        """
        if self.base is not None:
            return self.base.parameter_count()
        if self.folder is None:
            return _count_in_name(self.name)
        shapes = weight_shapes(self.folder)
        return sum(math.prod(shape) for shape in shapes.values()) if shapes else None

    def context_length(self) -> int | None:
        """Tokens of the longest sequence that the model takes, from config.json; None for a Hub id, or where it is not said."""
        settings = self.settings()
        text: Mapping[str, Any] = settings.get("text_config") or settings
        names = ("max_position_embeddings", "n_positions", "max_seq_len")
        return next((text[name] for name in names if text.get(name)), None)

    def stored_dtype(self) -> str | None:
        """Number format of most of the weights, `bfloat16` for one, from the headers of their files; of an adapter that of its
        base. None for a Hub id, and where the files are quantised."""
        if self.base is not None:
            return self.base.stored_dtype()
        return None if self.folder is None else stored_dtype(self.folder)

    def loaded_as(self, loading: LoadingConfig) -> ModelSource:
        """The same model, loaded otherwise."""
        return replace(self, loading=loading, base=self.base and self.base.loaded_as(loading))

    @property
    def reads_images(self) -> bool:
        """Whether it is a vision-language model with its processor; False for a Hub id, whose files are not here."""
        folder = Path(self.tokenizer_path)
        return "vision_config" in self.settings() and any((folder / name).is_file() for name in _PROCESSORS)

    def trusts(self, path: str) -> bool:
        """Whether Python code in a folder of this model, its own or its base's, may run."""
        return self.trusted if path == self.path or self.base is None else self.base.trusts(path)

    @property
    def reference(self) -> str:
        """What `resolve_model` takes for this model, the base of an adapter included."""
        at = self.revision if self.base is None else self.base.reference
        return self.path if at is None else f"{self.path}@{at}"

    @property
    def head_labels(self) -> int | None:
        """Outputs of the head that an adapter was saved with; None where it has none."""
        shapes = weight_shapes(Path(self.path)) or {} if self.base is not None else {}
        heads = (shape[0] for name, shape in shapes.items() if name.endswith(_HEADS))
        return next(heads, None)

    def settings(self) -> dict[str, Any]:
        """What config.json says of a model on this machine; of an adapter that of its base, with the adapter's own kind of
        architecture. Nothing for a Hub id."""
        if self.base is not None:
            settings = self.base.settings()
            kind = _CLASSIFIERS.get(read_json(Path(self.path) / ADAPTER).get("task_type"))
            return {**settings, "architectures": [kind]} if kind and settings else settings
        path = self.folder and self.folder / "config.json"
        return read_json(path) if path and path.is_file() else {}

    @property
    def tokenizer_path(self) -> str:
        """Where the tokenizer is: with an adapter if it was saved there, else with its base."""
        own = self.base is None or any((Path(self.path) / name).exists() for name in _TOKENIZERS)
        return self.path if own or self.base is None else self.base.tokenizer_path


def refuse_scorers(source: ModelSource) -> None:
    """Raise ModelError for a model that writes no text: one that scores, fills gaps, or has an encoder of its own.

    With tied embeddings such a model may load as a language model without a word, and would write noise.
    """
    names = source.settings().get("architectures") or []
    for end, what, hint in (
        (
            "Classification",
            "a reward model scores texts and writes none",
            "name a language model; a reward model is used by --reward RUN",
        ),
        (
            "ForMaskedLM",
            "a model that fills gaps reads a text in both directions, and cannot write one from left to right",
            "name a causal language model, such as nano",
        ),
    ):
        if any(name.endswith(end) for name in names):
            raise ModelError(what, given=f"{source.name} ({', '.join(names)})", hint=hint)


def resolve_model(reference: str, *, ensembles: bool = False) -> ModelSource:
    """Find the model a user named.

    Args:
        reference: `nano`, `nano-vision`, a folder in Hugging Face format, a run directory (its `model/` is used), a Hub id, or
            a folder with an adapter of PEFT's; `ADAPTER@BASE` names the base of an adapter that names none, or one that has
            moved, and `org/name@REVISION` a branch, tag or commit of the Hub.
        ensembles: accept an ensemble of reward models, which has members instead of weights.

    Raises:
        ModelError: nothing loadable is there.
    """
    if reference == "nano":
        return ModelSource(str(_checked(NANO, reference)), "nano", "nano")
    if reference == NANO_VISION:
        return ModelSource(str(_checked(_nano_vision(), reference)), "nano", NANO_VISION)
    path = Path(reference).expanduser()
    ensemble = next((folder for folder in (path / "model", path) if (folder / ENSEMBLE).is_file()), None)
    if ensemble is not None:
        return _ensemble(ensemble, path.name, reference, ensembles)
    if (path / "status.json").exists():
        if not (path / "model").is_dir():
            raise ModelError(
                "that run has no model: it did not finish", given=reference, hint=f"rlllm runs show {path}"
            )
        if _is_adapter(path / "model"):
            return replace(_adapter(path / "model", reference, None), kind="run", name=path.name)
        return ModelSource(str(_checked(path / "model", reference)), "run", path.name)
    if _is_adapter(path):
        return _adapter(path, reference, None)
    if path.exists():
        return ModelSource(str(_checked(path, reference)), "folder", path.name)
    folder, at, base = reference.partition("@")
    if at and Path(folder).expanduser().is_dir():
        return _adapter(_adapter_folder(Path(folder).expanduser()), reference, base)
    hub = _HUB_ID.match(reference)
    if hub and not reference.startswith((".", "/", "runs/")):
        return ModelSource(hub["id"], "hub", hub["name"], revision=hub["revision"])
    near = closest(path.name, ["nano", NANO_VISION, *(other.name for other in path.parent.glob("*") if other.is_dir())])
    raise ModelError(
        "no such model: it is neither a folder nor a run, and not of the form org/name",
        given=reference,
        hint=f"did you mean {near}?" if near else "the embedded models are called nano and nano-vision",
    )


def source_of(model: ModelConfig, *, ensembles: bool = False) -> ModelSource:
    """The model of a setting, with how it is loaded; `ensembles` as in `resolve_model`.

    Raises:
        ModelError: nothing loadable is there.
        ConfigError: it cannot be loaded so here.
    """
    check_loading(model)
    source = resolve_model(model.reference, ensembles=ensembles)
    loading = LoadingConfig(**{name: getattr(model, name) for name in LoadingConfig.model_fields})
    source = _trusting(source, model) if model.trust_remote_code is not None else source
    _refuse_unknown_code(source)
    return source.loaded_as(loading)


def _trusting(source: ModelSource, model: ModelConfig) -> ModelSource:
    """The model, or the base under it, that `trust_remote_code` names, with the word that its code may run.

    Raises:
        ConfigError: it names none of them.
    """
    trusted = model.trust_remote_code
    base = source.base
    if trusted in (source.reference, model.base and model.reference):  # ADAPTER@BASE names both
        return replace(source, trusted=True, base=base and replace(base, trusted=True))
    if trusted == model.name:
        return replace(source, trusted=True)
    if base is not None and trusted in (model.base, base.reference):
        return replace(source, base=replace(base, trusted=True))
    exists = [model.reference, *([base.reference] if base else [])]
    raise ConfigError(
        "model.trust_remote_code names another repository than the one that is loaded",
        given=f"model.trust_remote_code={trusted}",
        exists=exists,
        hint=f"model.trust_remote_code={exists[0]}, if you have read its code; leave it out otherwise",
    )


def _refuse_unknown_code(source: ModelSource) -> None:
    """Raise ModelError for a folder whose architecture is defined by Python code of its own, which is not trusted."""
    path = Path(source.path, "config.json")
    if source.base is not None:
        _refuse_unknown_code(source.base)
    if source.folder is None or source.trusted or not path.is_file():
        return
    settings = read_json(path)
    if "auto_map" not in settings:
        return
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if settings["model_type"] not in CONFIG_MAPPING_NAMES:
        raise code_refused(source)


def trusted_code(source: ModelSource) -> Iterator[str]:
    """What is said of each repository whose code runs."""
    if source.trusted:
        yield f"Python code of {source.reference} runs here, with your files and your network (model.trust_remote_code)"
    if source.base is not None:
        yield from trusted_code(source.base)


def code_refused(source: ModelSource) -> ModelError:
    """What is said of a model that needs Python code of its own repository to load."""
    return ModelError(
        "the model is defined by Python code in its repository, which is not run",
        given=f"{source.name} ({source.path})",
        hint="name a model that transformers knows; or read the code, and if you trust it: "
        f"model.trust_remote_code={source.reference}",
    )


def _nano_vision() -> Path:
    """The folder of nano-vision, which is made from nano when it is first asked for.

    Raises:
        ModelError: the cache cannot be written.
    """
    made_of = fingerprint(
        [file_hash(path) for path in (*sorted(NANO.glob("*.safetensors")), Path(nano_vision.__file__))]
    )
    folder = cache_root() / "models" / f"{NANO_VISION}-{made_of}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as scratch:
            nano_vision.build(Path(scratch, "model"), NANO)
            if not folder.is_dir():  # another process may have made it meanwhile
                Path(scratch, "model").rename(folder)
    except OSError as error:
        raise ModelError(
            f"nano-vision cannot be made: {describe(error)}",
            given=folder,
            hint="RLLLM_CACHE=FOLDER names another place",
        ) from error
    return folder


def is_adapter(reference: str) -> bool:
    """Whether a reference names the folder of an adapter, alone or with its base."""
    folders = (Path(name).expanduser() for name in (reference, reference.partition("@")[0]))
    return any(_is_adapter(_adapter_folder(folder)) for folder in folders)


def _adapter_folder(folder: Path) -> Path:
    """Where the adapter is: of a run in its `model/`, else in the folder itself."""
    return folder / "model" if (folder / "status.json").is_file() else folder


def _is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model."""
    return (folder / ADAPTER).is_file() and not (
        (folder / "config.json").is_file() and any(folder.glob("model*.safetensors"))
    )


def _adapter(folder: Path, reference: str, base: str | None) -> ModelSource:
    """The adapter in a folder, on its base.

    Args:
        folder: of the adapter.
        reference: as the user named it.
        base: the model it was trained on; None takes the one that the adapter names.
    """
    hint = "name the model that it was trained on: model.base=MODEL"
    if not _is_adapter(folder):
        raise ModelError(
            "only an adapter has a base", given=reference, hint=f"the folder has no {ADAPTER}: name the model alone"
        )
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            "the adapter has no weights: adapter_model.safetensors",
            given=reference,
            exists=sorted(path.name for path in folder.iterdir()),
            hint=_conversion(folder),
        )
    try:
        settings = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
        named = base or settings.get("base_model_name_or_path")
        if named and not base and settings.get("revision"):
            named = f"{named}@{settings['revision']}"
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"the adapter's {ADAPTER} cannot be read: {error}", given=reference) from error
    if not named:
        raise ModelError("the adapter does not say which model it was trained on", given=reference, hint=hint)
    try:
        source = resolve_model(_moved(str(named), folder))
    except ModelError as error:
        raise ModelError(
            f"the base of the adapter cannot be used: {error.what}", given=f"{reference}, base {named}", hint=hint
        ) from error
    inner = folder.name == "adapter" or (folder.parent / "status.json").is_file()
    return ModelSource(str(folder), "adapter", folder.parent.name if inner else folder.name, source)


def _moved(base: str, adapter: Path) -> str:
    """The base as it is found from here: where it says, beside the adapter, or the embedded model of another installation."""
    if Path(base).expanduser().exists() or base == "nano":
        return base
    if not Path(base).is_absolute():
        beside = next((parent / base for parent in adapter.resolve().parents if (parent / base).exists()), None)
        if beside is not None:
            return str(beside)
    return "nano" if Path(base).parts[-2:] == NANO.parts[-2:] else base


def weight_shapes(folder: Path) -> dict[str, list[int]] | None:
    """Name and shape of every weight, from the headers of the model's *.safetensors files; None if one cannot be read."""
    entries = _weight_entries(folder)
    return entries and {name: entry["shape"] for name, entry in entries.items()}


def stored_dtype(folder: Path) -> str | None:
    """Torch's name of the number format that most of the weights in a folder have; None where it is none of `_FORMATS`."""
    sizes: Counter[str] = Counter()
    for entry in (_weight_entries(folder) or {}).values():
        sizes[entry["dtype"]] += math.prod(entry["shape"])
    return _FORMATS.get(max(sizes, key=lambda name: sizes[name])) if sizes else None


_FORMATS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}


def _weight_entries(folder: Path) -> dict[str, Any] | None:
    """Name of every weight -> what the header of its file says; None if one cannot be read, or there are none."""
    entries: dict[str, Any] = {}
    for path in sorted(folder.glob("*model*.safetensors")):  # a checkpoint has critic and reference beside the model
        header = _header(path)
        if header is None:
            return None
        entries |= {name: entry for name, entry in header.items() if name != "__metadata__"}
    return entries or None


def _header(path: Path) -> dict[str, Any] | None:
    """The format: eight bytes with the header's length, little endian, then the header in JSON."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _LARGEST_HEADER:
                return None
            return json.loads(file.read(length))
    except (OSError, ValueError):
        return None


def _count_in_name(name: str) -> int | None:
    """The parameters that a model's name states: `SmolLM2-135M`, `Mixtral-8x7B`; the first number with a unit counts."""
    match = _SIZE_IN_NAME.search(name)
    if match is None:
        return None
    return int(float(match["number"]) * _UNITS[match["unit"].lower()] * int(match["experts"] or 1))


def _ensemble(folder: Path, name: str, reference: str, wanted: bool) -> ModelSource:
    if not wanted:
        raise ModelError(
            "an ensemble of reward models only scores: it has no weights of its own to train or to sample from",
            given=reference,
            hint="name one of its members (RUN/members/1), or use it as the reward named model",
        )
    return ModelSource(str(folder), "ensemble", name)


def _checked(folder: Path, reference: str) -> Path:
    hint = "give a folder made by save_pretrained: config.json, tokenizer files and *.safetensors"
    config = folder / "config.json"
    if not folder.is_dir() or not config.is_file():
        raise ModelError("not a model folder: it has no config.json", given=reference, hint=hint)
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the model folder cannot be read: config.json: {error}", given=reference, hint=hint
        ) from error
    if not isinstance(settings, dict) or "model_type" not in settings:
        raise ModelError("the model folder's config.json names no model_type", given=reference, hint=hint)
    if settings.get("is_encoder_decoder"):
        raise ModelError(
            f"{settings['model_type']} is an encoder with a decoder: only models that read and write one text are trained",
            given=reference,
            hint="name a causal language model, such as nano",
        )
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        files = sorted(path.name for path in folder.iterdir())
        raise ModelError(
            "the model folder has no *.safetensors weights",
            given=reference,
            exists=files,
            hint=_conversion(folder) or hint,
        )
    if not any((folder / name).exists() for name in _TOKENIZERS):
        raise ModelError("the model folder has no tokenizer", given=reference, hint=hint)
    check_vocabulary(folder, settings, reference)
    return folder


def _conversion(folder: Path) -> str | None:
    """How weights of another format become safetensors; None where there are none."""
    if any(folder.glob("adapter_model.bin")):
        load = "import torch, safetensors.torch as s"
        file = f"{folder}/adapter_model"
        return (
            "files of pickled weights can run programs, and are not read; convert one that you trust: "
            f"python -c \"{load}; s.save_file(torch.load('{file}.bin', weights_only=True), '{file}.safetensors')\""
        )
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        return (
            "files of pickled weights can run programs, and are not read; convert one that you trust: "
            'python -c "from transformers import AutoModelForCausalLM as M; '
            f"M.from_pretrained('{folder}', dtype='auto').save_pretrained('{folder}')\""
        )
    return None
