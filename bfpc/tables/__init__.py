"""Results as tables for a terminal."""

from bfpc.tables.accuracy import evaluation, scores, verification
from bfpc.tables.builds import exported, inspection, main_stall, partition, ran, summary
from bfpc.tables.choices import chosen, epoch_figures, exploration, retrained
from bfpc.tables.difference import difference
from bfpc.tables.setup import diagnosis, started

__all__ = [
    "chosen",
    "diagnosis",
    "difference",
    "epoch_figures",
    "evaluation",
    "exploration",
    "exported",
    "inspection",
    "main_stall",
    "partition",
    "ran",
    "retrained",
    "scores",
    "started",
    "summary",
    "verification",
]
