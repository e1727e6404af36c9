"""Keys and values of prompts and earlier frames, cached between calls of the UNet."""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor

KeysAndValues = tuple[Tensor, Tensor]


class KeyValueCache:
    """Keys and values that earlier calls of the UNet computed, by attention layer.

    It is an argument of these calls, so that the UNet's modules have no state, and belongs to one
    set of prompts and of weights. No gradients flow through it: in training, both change.

    A clip that goes through the UNet in windows has the result of one that goes through whole,
    except that temporal attention and pooled group norms leave out distant frames.
    """

    def __init__(self, overlap: int = 0) -> None:
        """Cache prompts and, between two windows, frame 0 and the last `overlap` frames.

        An overlap of 0 is for clips that go through the UNet whole.
        """
        self.overlap = overlap
        self._prompts: dict[Attention, KeysAndValues] = {}
        self._frames: dict[Attention, KeysAndValues] = {}

    def clear_frames(self) -> None:
        """Remove the frames, before frame 0 of another denoising step."""
        self._frames.clear()

    def prompt_keys_values(self, attn: Attention, text: Tensor) -> KeysAndValues:
        """Keys and values b m d of prompts b m e, computed at the first call."""
        if attn not in self._prompts:
            self._prompts[attn] = attn.to_k(text), attn.to_v(text)
        return self._prompts[attn]

    def extend_with_cached(
        self, attn: Attention, key: Tensor, value: Tensor, *, dim: int, last: int
    ) -> KeysAndValues:
        """Prepend the cached frames to those of a window, and cache frame 0 and the last ones.

        Args:
            attn: the attention layer.
            key, value: of the window's frames, which lie along `dim`.
            dim: of the frames, also in the result.
            last: number of frames at the end to cache.
        """
        if not self.overlap:
            return key, value
        if attn in self._frames:
            cached_key, cached_value = self._frames[attn]
            key, value = torch.cat([cached_key, key], dim), torch.cat([cached_value, value], dim)
        self._frames[attn] = _first_and_last(key, dim, last), _first_and_last(value, dim, last)
        return key, value


def _first_and_last(frames: Tensor, dim: int, last: int) -> Tensor:
    """Frame 0 and the last ones along `dim`, copied, so that the others can be freed."""
    count = frames.shape[dim]
    if count <= last + 1:
        return frames
    return torch.cat([frames.narrow(dim, 0, 1), frames.narrow(dim, count - last, last)], dim)
