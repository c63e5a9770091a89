"""The trained tensors, and the weights and biases of layers that come of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bfpc.training.batch_norm import Normalization
from bfpc.training.parameters import Array, Source

Key = tuple[str, str]  # a layer's name and a role
Tensors = dict[str, Tensor]


class LayerConstants(nn.Module):
    """Makes the weights and biases of all layers, differentiably, from the tensors of the model that are trained.

    tensors: those of the model, by name; sources: what becomes of them, with `normalizations` in them; fixed: the
    constants of layers that are not trained.
    """

    def __init__(
        self,
        tensors: Mapping[str, Array],
        sources: Mapping[Key, Source],
        fixed: Mapping[Key, Array],
        normalizations: Sequence[Normalization] = (),
    ) -> None:
        super().__init__()
        self.names = tuple(tensors)
        self.tensors = nn.ParameterList(nn.Parameter(torch.tensor(array)) for array in tensors.values())
        self.sources, self._fixed = dict(sources), tuple(fixed)
        self._gathers = nn.ModuleList(_Gather(source) for source in sources.values())
        for index, array in enumerate(fixed.values()):
            self.register_buffer(f"fixed{index}", torch.tensor(array), persistent=False)
        self._normalizations = nn.ModuleList(_Normalized(each) for each in normalizations)

    def forward(self) -> dict[Key, Tensor]:
        folded = self.folded()
        fixed = {key: getattr(self, f"fixed{index}") for index, key in enumerate(self._fixed)}
        return fixed | {key: gather(folded) for key, gather in zip(self.sources, self._gathers, strict=True)}

    def trained(self) -> Tensors:
        """The tensors by name."""
        return dict(zip(self.names, self.tensors, strict=True))

    def folded(self) -> Tensors:
        """The tensors with the normalizations in them."""
        tensors = self.trained()
        for normalized in self._normalizations:
            tensors |= normalized(tensors)
        return tensors


class _Gather(nn.Module):
    """Computes a layer's constant from tensors as its `Source` says."""

    index: Tensor | None
    factor: Tensor | None
    offset: Tensor | None

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source, self.shape = source, source.index.shape
        in_order = np.array_equal(source.index.ravel(), np.arange(source.index.size))
        self.register_buffer("index", None if in_order else torch.from_numpy(source.index.ravel()), persistent=False)
        for name, array, neutral in (("factor", source.factor, 1), ("offset", source.offset, 0)):
            plain = (array == neutral).all()
            self.register_buffer(name, None if plain else torch.tensor(array), persistent=False)

    def forward(self, tensors: Tensors) -> Tensor:
        parts = [tensors[name].flatten() for name in self.source.tensors]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts)
        chosen = joined[: int(np.prod(self.shape))] if self.index is None else joined[self.index]
        constant = chosen.reshape(self.shape)
        constant = constant if self.factor is None else constant * self.factor
        return constant if self.offset is None else constant + self.offset


class _Normalized(nn.Module):
    """The weight and the bias of a layer with the normalization after it."""

    mean: Tensor
    deviation: Tensor
    channels: Tensor

    def __init__(self, of: Normalization) -> None:
        super().__init__()
        self.of = of
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.tensor(getattr(of, name), dtype=torch.float32), persistent=False)
        self.register_buffer("channels", torch.from_numpy(of.channels), persistent=False)

    def forward(self, tensors: Tensors) -> Tensors:
        scale = tensors[self.of.gamma] / self.deviation
        bias = tensors[self.of.bias] * self.of.bias_factor if self.of.has_bias else 0.0
        return {
            self.of.weight: tensors[self.of.weight] * scale[self.channels],
            self.of.bias: (bias - self.mean) * scale + tensors[self.of.beta],
        }
