"""Generates `core/trl_fields.json` (`make trl-fields`): TRL's config dataclasses, and the settings of our own losses."""

from __future__ import annotations

import json
from typing import Any

from rlllm.algorithms import _trl
from rlllm.algorithms.preference.settings import LOSS_SETTINGS, field_table
from rlllm.core import trl_fields

_CONFIGS = (
    "SFTConfig",
    "RewardConfig",
    "DPOConfig",
    "KTOConfig",
    "GRPOConfig",
    "RLOOConfig",
)


def tables() -> dict[str, dict[str, dict[str, Any]]]:
    """Config name -> field name -> what `trl_fields.fields_of` says, for each dataclass and each of `LOSS_SETTINGS`."""
    configs = {name: trl_fields.fields_of(getattr(_trl, name)) for name in _CONFIGS}
    for name, words in _unlisted_words().items():
        for fields in configs.values():
            fields[name]["choices"] = words
    losses: dict[str, dict[str, Any]] = {
        name: field_table(loss, configs["DPOConfig"]) for name, loss in LOSS_SETTINGS.items()
    }
    return {**configs, **losses}


def _unlisted_words() -> dict[str, list[str]]:
    """Field name -> words that transformers knows for it, and looks up when training begins."""
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
    from transformers.trainer_utils import FSDPOption

    return {
        "report_to": [*INTEGRATION_TO_CALLBACK, "all", "none"],
        "fsdp": [option.value for option in FSDPOption],
    }


def main() -> None:
    text = json.dumps(tables(), indent=1, sort_keys=True, default=str)
    trl_fields.PATH.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {trl_fields.PATH}")


if __name__ == "__main__":
    main()
