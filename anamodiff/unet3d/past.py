"""What calls of the UNet leave to later ones: keys and values, of prompts and of frames."""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor

KeysAndValues = tuple[Tensor, Tensor]


class Past:
    """Keys and values that earlier calls computed, by the attention that they belong to.

    Handed through the UNet, so that its modules keep no state. It serves one set of prompts and of
    weights, and no gradients: in training both change.

    A clip whose frames go through the UNet window by window comes out as if they went together, but
    for what temporal attention and pooled norms would see of frames far away.
    """

    def __init__(self, overlap: int = 0) -> None:
        """Remember prompts, and between two windows frame 0 and the last `overlap` frames.

        An overlap of 0 is for clips that go through the UNet whole.
        """
        self.overlap = overlap
        self._prompts: dict[Attention, KeysAndValues] = {}
        self._frames: dict[Attention, KeysAndValues] = {}

    def forget_frames(self) -> None:
        """Begin with frame 0 again, at another noise level."""
        self._frames.clear()

    def of_prompts(self, attn: Attention, text: Tensor) -> KeysAndValues:
        """Keys and values b m d of prompts b m e, computed once."""
        if attn not in self._prompts:
            self._prompts[attn] = attn.to_k(text), attn.to_v(text)
        return self._prompts[attn]

    def recall(
        self, attn: Attention, key: Tensor, value: Tensor, *, dim: int, last: int
    ) -> KeysAndValues:
        """Put the remembered frames before those of a window, and remember frame 0 and the last.

        Args:
            attn: whose they are.
            key, value: of the window's frames, which lie along `dim`.
            dim: likewise of what is returned.
            last: frames at the end to remember.
        """
        if not self.overlap:
            return key, value
        both = (key, value)
        if attn in self._frames:
            both = tuple(
                torch.cat(pair, dim) for pair in zip(self._frames[attn], both, strict=True)
            )
        self._frames[attn] = tuple(_first_and_last(frames, dim, last) for frames in both)
        return both


def _first_and_last(frames: Tensor, dim: int, last: int) -> Tensor:
    """Frame 0 and the last ones along `dim`, copied, so that the others need not be kept."""
    count = frames.shape[dim]
    if count <= last + 1:
        return frames
    return torch.cat([frames.narrow(dim, 0, 1), frames.narrow(dim, count - last, last)], dim)
