"""What `scripts/measure_lofnet.py` measures, one module a part."""

from collections.abc import Mapping

from torch import Tensor

#: Source, driving clip and truth of each pair, f 3 h w in [-1, 1], by the pair's name.
Pairs = Mapping[str, tuple[Tensor, Tensor, Tensor]]
