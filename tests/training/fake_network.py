"""A network with the interface of `TrainableNetwork`, small enough to train within a test: linear, on a coarse grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bfpc.config_sections import Preprocessing
from bfpc.data import FLOAT32, InputSpec, open_inputs
from bfpc.training.batches import Examples

CLASSES, SIZE = 4, 4
SPEC = InputSpec("image", (1, 3, SIZE, SIZE), ("N", "C", "H", "W"), FLOAT32)
GRID = 0.25


class FakeNetwork(nn.Module):
    """One linear layer, whose weights are rounded to a grid while `quantizing`."""

    def __init__(self) -> None:
        super().__init__()
        self.quantizing = True
        random = np.random.default_rng(0)
        weight = random.standard_normal((CLASSES, 3 * SIZE * SIZE)) / 4
        self.weight = nn.Parameter(torch.from_numpy(weight.astype(np.float32)))

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        weight: Tensor = self.weight
        if self.quantizing:
            weight = weight + (torch.round(weight / GRID) * GRID - weight).detach()
        return {"scores": inputs["image"].flatten(1) @ weight.T}

    def write(self, path: Path) -> None:
        np.save(path, self.weight.detach().numpy())


def examples(folder: Path, count: int, *, labelled: bool, seed: int = 1) -> Examples:
    """Images whose class a linear network can tell, in a file of `folder`."""
    random = np.random.default_rng(seed)
    images = random.standard_normal((count, 3, SIZE, SIZE)).astype(np.float32)
    truth = np.random.default_rng(2).standard_normal((3 * SIZE * SIZE, CLASSES))
    path = folder / f"images-{seed}.npy"
    np.save(path, images)
    classes = (images.reshape(count, -1) @ truth).argmax(1)
    return Examples(open_inputs(path, [SPEC], Preprocessing(), None), classes if labelled else None, (SPEC,))
