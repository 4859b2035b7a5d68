"""The KL term of a planned run against NumPy: k3 (the GRPO paper), or k3 times the importance ratio where it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fed_trainers import fed_loop, rollout, save_llama
from torch import Tensor

from rlllm.stages.catalog import plan, resolve_settings

BETA = 0.3
FROM_THE_PLAN = ("loss_type", "scale_rewards", "beta", "epsilon", "use_bias_correction_kl")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"))


def planned(model: str, **settings: Any) -> dict[str, Any]:
    """TRL settings of `reason` with the method grpo, as planned."""
    chosen = [("model", model), ("method", "grpo"), ("beta", BETA), *settings.items()]
    made = plan(resolve_settings("reason", {"data": {"name": "arithmetic", "rows": 40, "holdout": 4}}, chosen))
    return {name: made.settings[name] for name in FROM_THE_PLAN if name in made.settings}


def gradient(k3_slope: np.ndarray, inputs: dict[str, Tensor], logps: np.ndarray, old: np.ndarray) -> np.ndarray:
    """d loss / d log-probability: the clipped policy gradient and beta times the KL term's slope, mean over each completion."""
    mask, advantages = inputs["completion_mask"].numpy(), inputs["advantages"].numpy()[:, None]
    ratio = np.exp(logps - old)
    clipped = ((advantages > 0) & (ratio > 1.2)) | ((advantages < 0) & (ratio < 0.8))
    slope = np.where(clipped, 0.0, -advantages * ratio) + BETA * k3_slope
    return slope * mask / mask.sum(1, keepdims=True) / len(mask)


@pytest.mark.parametrize("off_policy", [False, True])
@pytest.mark.parametrize("corrected", [None, True])
def test_the_gradient_of_grpo_with_beta_is_that_of_k3_unless_the_correction_is_asked_for(
    llama: str, tmp_path: Path, off_policy: bool, corrected: bool | None
) -> None:
    given = {} if corrected is None else {"use_bias_correction_kl": corrected}
    loop = fed_loop(llama, tmp_path, {"num_iterations": 2, **planned(llama, **given)})
    inputs, seen = rollout(), []
    forward = loop._get_per_token_logps_and_entropies

    def kept(*args: Any, **kwargs: Any) -> Any:
        result = forward(*args, **kwargs)
        result[0].retain_grad()
        seen.append(result[0])
        return result

    ids, mask = (torch.cat([inputs[f"prompt_{kind}"], inputs[f"completion_{kind}"]], 1) for kind in ("ids", "mask"))
    with torch.no_grad():
        logps = forward(loop.model, ids, mask, inputs["completion_ids"].size(1))[0]
    draw = torch.Generator().manual_seed(31)
    inputs["ref_per_token_logps"] = logps + 0.5 * torch.randn(logps.shape, generator=draw)
    if off_policy:
        inputs["old_per_token_logps"] = logps + 0.3 * torch.randn(logps.shape, generator=draw)
    loop._get_per_token_logps_and_entropies = kept
    loop.fast_path, loop.current_gradient_accumulation_steps = None, 1
    loop.model.train()
    loop.compute_loss(loop.model, inputs).backward()

    now, ref = logps.double().numpy(), inputs["ref_per_token_logps"].double().numpy()
    old = inputs["old_per_token_logps"].double().numpy() if off_policy else now
    slope = 1 - np.exp(ref - now)
    if corrected:
        slope = np.exp(now - old) * (np.exp(ref - now) - (ref - now) - 1 + slope)
    assert len(seen) == 1
    np.testing.assert_allclose(seen[0].grad.numpy(), gradient(slope, inputs, now, old), atol=1e-6, rtol=1e-5)
