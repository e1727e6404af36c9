"""Initial weights of the autoencoder with which it already passes a thumbnail through."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def start_as_thumbnail(vae) -> None:
    """Set random weights so that latents 0-2 are the averaged colours, and decode to them.

    Each value travels as a pair (x, -x) in the first channels of the residual stream: a pair has
    mean zero under the group norms, and silu(x) - silu(-x) = x takes it through the last activation
    unbent. Residual branches start at zero.
    """
    for name, module in vae.named_modules():
        if name.endswith(("conv2",)):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
        elif name.endswith("conv_shortcut"):
            _pass_through(module, 1.0)
        elif name.endswith("downsamplers.0.conv"):
            _pass_through(module, torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 0]]) / 4)
        elif name.endswith("upsamplers.0.conv"):
            _pass_through(module, 1.0)
    colours = range(3)
    for conv in (vae.encoder.conv_in, vae.decoder.conv_in):
        for k in colours:
            for sign in (0, 1):
                conv.weight[2 * k + sign] = 0
                conv.weight[2 * k + sign, k, 1, 1] = 1 - 2 * sign
                conv.bias[2 * k + sign] = 0
    for conv in (vae.encoder.conv_out, vae.decoder.conv_out):
        for k in colours:
            conv.weight[k] = 0
            conv.weight[k, 2 * k : 2 * k + 2, 1, 1] = torch.tensor([1.0, -1.0])
            conv.bias[k] = 0
    latents = vae.config.latent_channels
    vae.encoder.conv_out.bias[latents:] = -5  # little noise at the start
    vae.encoder.conv_out.weight[latents:] *= 0.1
    for conv in (vae.quant_conv, vae.post_quant_conv):
        conv.weight.copy_(torch.eye(len(conv.weight))[:, :, None, None])
        conv.bias.zero_()


def _pass_through(conv: torch.nn.Conv2d, kernel: float | Tensor) -> None:
    """Copy the first six channels, through a 3x3 kernel or the centre tap alone."""
    centre = conv.kernel_size[0] // 2
    for k in range(6):
        conv.weight[k] = 0
        conv.bias[k] = 0
        if isinstance(kernel, float):
            conv.weight[k, k, centre, centre] = kernel
        else:
            conv.weight[k, k] = kernel
