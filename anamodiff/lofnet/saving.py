"""Networks as two files: weights (.safetensors) and what their constructor takes (.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import move_into_place
from anamodiff.tensors import not_finite


class SavedModule(nn.Module):
    """A network that knows its constructor's keywords, `config`, and what it is called, `role`."""

    role = "network"
    config: dict[str, Any]

    def save(self, path: str | Path, half: bool = False) -> None:
        """Write `path` (.safetensors) and its configuration (.json), each whole or not at all.

        With `half`, matrices and kernels are written in half precision.
        """
        path = Path(path)
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        if half:
            weights = {n: v.half() if v.ndim > 1 else v for n, v in weights.items()}
        temporary = path.with_suffix(".tmp")
        save_file(weights, temporary)
        move_into_place(temporary, path.with_suffix(".safetensors"))
        temporary.write_text(json.dumps(self.config, indent=1) + "\n", encoding="utf-8")
        move_into_place(temporary, path.with_suffix(".json"))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote, strictly, in evaluation mode.

        Raises:
            AnaMoDiffError: a file is missing, or the weights do not fit the configuration.
        """
        config, weights = Path(path).with_suffix(".json"), Path(path).with_suffix(".safetensors")
        if not (config.is_file() and weights.is_file()):
            raise AnaMoDiffError(
                f"expected {cls.role} weights {weights} and {config.name} beside them; one is "
                "missing: train them or name others"
            )
        try:
            made = cls(**json.loads(config.read_text(encoding="utf-8")))
            made.load_state_dict(load_file(weights), strict=True)
            if name := not_finite(made.named_parameters()):
                raise ValueError(f"NaN or infinity in {name}")
        except (
            RuntimeError,
            ValueError,
            TypeError,
            OSError,
            RecursionError,
            SafetensorError,
        ) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
            raise AnaMoDiffError(
                f"expected weights that fit {config}; got others ({reason}): use the pair of files "
                "that was saved together"
            ) from None
        return made.eval()
