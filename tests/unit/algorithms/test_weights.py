"""Did the weights move? One changed bit is enough, and nothing else is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlllm.algorithms.weight_checks import checksum, finite

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


def model(dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_weights_have_equal_checksums(dtype: torch.dtype) -> None:
    assert checksum(model(dtype)) == checksum(model(dtype))
    assert len(checksum(model(dtype))) == 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_smallest_change_of_one_weight_shows(dtype: torch.dtype) -> None:
    changed = model(dtype)
    with torch.no_grad():
        weight = changed[0].weight
        weight[1, 2] = torch.nextafter(weight[1, 2].float(), torch.tensor(9.0)) if dtype == torch.float32 else 9.0
    assert checksum(changed) != checksum(model(dtype))


@given(st.integers(0, 11), st.floats(-10, 10, width=32))
def test_any_other_value_of_any_weight_shows(index: int, value: float) -> None:
    changed = model()
    before = changed[0].weight.flatten()[index].item()
    with torch.no_grad():
        changed[0].weight.view(-1)[index] = value
    same_bits = torch.tensor(before).view(torch.int32).equal(torch.tensor(value).view(torch.int32))
    assert (checksum(changed) == checksum(model())) is same_bits


def test_frozen_weights_do_not_count() -> None:
    frozen = model()
    frozen[1].requires_grad_(False)
    assert checksum(frozen) == checksum(model())[:2]


def test_a_tensor_that_is_not_contiguous_is_no_trouble() -> None:
    strange = model()
    strange[0].weight = torch.nn.Parameter(torch.arange(12.0).view(3, 4).t())
    assert checksum(strange)[0] == checksum(strange)[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_weight_that_is_no_number_makes_a_model_not_finite(value: float) -> None:
    broken = model()
    assert finite(broken)
    with torch.no_grad():
        broken[1].bias[0] = value
    assert not finite(broken)
