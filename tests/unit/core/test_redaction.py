"""Secrets stay out of what a run writes down."""

from __future__ import annotations

import pytest

from rlllm.core.redaction import secrets_in, without_secrets


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("rlllm sft --hub_token hf_abc --seed 1", "rlllm sft --hub_token <redacted> --seed 1"),
        ("rlllm sft hub_token=hf_abc", "rlllm sft hub_token=<redacted>"),
        ("rlllm sft --hub_token='hf_abc' seed=1", "rlllm sft --hub_token=<redacted> seed=1"),
        ('trainer: {hub_token: "hf_abc", seed: 1}', "trainer: {hub_token: <redacted>, seed: 1}"),
        ("hub_token: hf_abc\nseed: 1 # a comment\n", "hub_token: <redacted>\nseed: 1 # a comment\n"),
        ("rlllm sft --hub-token hf_abc --seed 1", "rlllm sft --hub-token <redacted> --seed 1"),
        ("rlllm sft --pad_token x", "rlllm sft --pad_token x"),
    ],
)
def test_a_text_keeps_everything_but_the_secret(text: str, written: str) -> None:
    assert without_secrets(text) == written


def test_a_mapping_loses_the_secret_at_any_depth() -> None:
    settings = {"seed": 1, "trainer": {"hub_token": "hf_abc", "max_steps": 2}, "rewards": ["exact"]}
    assert without_secrets({"trainer.hub_token": "hf_abc", "seed": 1}) == {"seed": 1}
    assert secrets_in(settings) == {"hf_abc"}
    assert without_secrets({"arms": [settings["trainer"]]}) == {"arms": [{"max_steps": 2}]}
    assert without_secrets("token: &x hf_abc", secrets_in(settings)) == "token: &x <redacted>"
    assert without_secrets(settings) == {"seed": 1, "trainer": {"max_steps": 2}, "rewards": ["exact"]}
