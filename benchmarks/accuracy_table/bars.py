"""What accuracy has to reach: one figure, or the difference of two, at least so much."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.accuracy_table.cells import FLOAT, NETWORKS, ROWS, Cell, Column
from benchmarks.accuracy_table.results import Result, Results

SQNR, BITS = "SQNR", "weight bits"  # figures; the others are names of scores
RECOVERED_DB = 3.0
AUTO_DB = 0.1


@dataclass(frozen=True)
class Bar:
    """That `figure` of `cell`, or what it has more than `other`, is `at_least`."""

    what: str
    cell: Cell
    figure: str
    at_least: float
    other: Cell | None = None


def all_bars() -> Iterator[Bar]:
    yield from _resnet20_bars()
    for network in NETWORKS:
        recovered, plain = (Cell(network, "int5/4", column) for column in _columns("recovery", "plain"))
        yield Bar("recovery at int5/4 over plain rounding", recovered, SQNR, RECOVERED_DB, plain)
    for network in ("efficientnet_lite0", "mobilenetv2"):
        yield Bar("recovery at int8", Cell(network, "int8", "recovery"), SQNR, 30)
        yield Bar("recovery at int8", Cell(network, "int8", "recovery"), "top1_agreement", 99)
        yield Bar("recovery at int6/5", Cell(network, "int6/5", "recovery"), "top1_agreement", 97)
    for network in NETWORKS:
        for row, formats in ROWS.items():
            if formats.within is not None:
                chosen, uniform = Cell(network, row, "recovery"), Cell(network, formats.within, "recovery")
                yield Bar(f"{row} over {formats.within}, no more weight bits", chosen, SQNR, AUTO_DB, uniform)
                yield Bar(f"{formats.within} over {row}", uniform, BITS, 0, chosen)


def _columns(*columns: Column) -> tuple[Column, ...]:
    return columns


def _resnet20_bars() -> Iterator[Bar]:
    yield Bar("recovery at int8", Cell("resnet20", "int8", "recovery"), "top1_agreement", 99)
    original, trained = (Cell("resnet20", FLOAT, column) for column in _columns("plain", "retraining"))
    yield Bar("recovery at int5/4 over float32", Cell("resnet20", "int5/4", "recovery"), "top1", -2, original)
    for row, at_least in (("int5/4", -0.5), ("int4", -1.0)):
        retrained = Cell("resnet20", row, "retraining")
        yield Bar(f"retraining at {row} over float32", retrained, "top1", at_least, original)
        yield Bar(f"retraining at {row} over float32 retrained alike", retrained, "top1", at_least, trained)


def value_of(bar: Bar, results: Results) -> float | None:
    """In dB, %, bits or points; None where a cell is not measured."""
    cells = (bar.cell,) if bar.other is None else (bar.cell, bar.other)
    if any(cell not in results for cell in cells):
        return None
    own, *others = (_figure(results[cell], bar.figure) for cell in cells)
    return own - sum(others)


def _figure(result: Result, figure: str) -> float:
    if figure == SQNR:
        return mean_sqnr_db(result.sqnr_db)
    return result.bits_per_weight if figure == BITS else 100 * result.scores[figure].value


def mean_sqnr_db(sqnr_db: dict[str, float]) -> float:
    """The SQNR of the noise relative to the signal, averaged over the outputs."""
    noises = [10 ** (-each / 10) for each in sqnr_db.values()]
    return -10 * math.log10(sum(noises) / len(noises))
