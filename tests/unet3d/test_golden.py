"""Tune-A-Video's own numbers."""

import pytest
import torch

from anamodiff.errors import AnaMoDiffError
from anamodiff.inversion.ddim import ddim_invert


def test_state_dict_has_the_reference_keys(reference) -> None:
    assert set(reference.unet.state_dict()) == set(reference.weights)


@torch.no_grad()
def test_forward_equals_the_reference(reference) -> None:
    tensors = reference.tensors
    got = reference.unet(tensors["sample"], tensors["timestep"], tensors["encoder_hidden_states"])
    torch.testing.assert_close(got.sample, tensors["output"], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_clips_of_a_batch_do_not_see_each_other(reference) -> None:
    tensors = reference.tensors
    sample = torch.cat([tensors["sample"], tensors["sample"].flip(2)])
    text = torch.cat([tensors["encoder_hidden_states"], tensors["encoder_hidden_states"].flip(1)])
    timestep = torch.cat([tensors["timestep"], tensors["timestep"] // 2])
    got = reference.unet(sample, timestep, text).sample
    torch.testing.assert_close(got[:1], tensors["output"], atol=1e-4, rtol=1e-4)
    other = reference.unet(sample[1:], timestep[1:], text[1:]).sample
    torch.testing.assert_close(got[1:], other, atol=1e-5, rtol=1e-4)


def test_inversion_equals_the_reference(reference) -> None:
    tensors = reference.tensors
    timesteps = reference.schedule.timesteps(10).flip(0)
    torch.testing.assert_close(timesteps, tensors["inversion_timesteps"])
    got = ddim_invert(
        reference.unet,
        tensors["inversion_input"],
        embedding=tensors["encoder_hidden_states"],
        schedule=reference.schedule,
        steps=10,
    )
    torch.testing.assert_close(got, tensors["inversion_output"], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_shapes_that_do_not_fit_are_refused(reference) -> None:
    sample, text = reference.tensors["sample"], reference.tensors["encoder_hidden_states"]
    with pytest.raises(AnaMoDiffError, match="b c f h w"):
        reference.unet(sample[0], 5, text)
    with pytest.raises(AnaMoDiffError, match="per clip, not per frame"):
        reference.unet(sample, 5, text.repeat(5, 1, 1))
