"""One process or several: torchrun starts them and says in the environment who is who."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """This process among those that train together: `rank` of `count`, and the device it computes on."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def share(self, network: nn.Module) -> nn.Module:
        """The network, its gradients averaged over the processes at every backward pass."""
        if self.count == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices)

    def sum(self, value: Tensor) -> Tensor:
        """The sum of every process's `value`."""
        if self.count > 1:
            dist.all_reduce(value)
        return value


@contextmanager
def join_processes() -> Iterator[Processes]:
    """This process and, where torchrun started it, its connection to the others.

    It computes on its own GPU where there is one, else on the CPU.
    """
    if not dist.is_torchelastic_launched():
        yield Processes(_device(0))
        return
    device = _device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(device, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
