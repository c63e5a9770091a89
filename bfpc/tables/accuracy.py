"""How good a build or a config is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from bfpc.tables.parts import FittingTable, percent, several, table

if TYPE_CHECKING:
    from bfpc.comparison import Comparison, Score, ScorePair, Verification
    from bfpc.evaluation.evaluate import Evaluation, Row

VERDICTS = {
    None: "Bits: not compared with the C++ (--csim does)",
    True: "Bits: the C++ and the emulator agree in every stored tensor",
    False: "Bits: the C++ and the emulator differ",
}
FIGURES = ("SQNR dB", "cosine", "largest error")


def verification(found: Verification) -> RenderableType:
    """Layers, outputs and the verdict."""
    verdict = "passed" if found.passed else "\n".join(("FAILED", *(f"  {failure}" for failure in found.failures)))
    outputs = [(*_comparison(row), percent(row.top1_agreement), percent(row.agreement)) for row in found.outputs]
    return Group(
        table("Layers", ("layer",), FIGURES, map(_comparison, found.layers)),
        "",
        table("Outputs", ("output",), (*FIGURES, "top-1 agrees", "elements agree"), outputs),
        "",
        *((scores(found.scores), "") if found.scores else ()),
        VERDICTS[found.bit_exact],
        f"Verification {verdict}",
    )


def scores(pairs: Sequence[ScorePair]) -> FittingTable:
    """Scores of the float network and of the build."""
    rows = [
        (
            pair.build.name,
            "" if pair.float32 is None else _score(pair.float32),
            _score(pair.build),
            f"{pair.build.images}",
        )
        for pair in pairs
    ]
    return table("Scores [95 % intervals]", ("score",), ("float32", "build", "images"), rows)


def _comparison(row: Comparison) -> tuple[str, ...]:
    figures = zip((row.sqnr_db, row.cosine, row.max_abs_error), (".1f", ".5f", ".3g"), strict=True)
    return row.name, *("" if figure is None else format(figure, spec) for figure, spec in figures)


def evaluation(found: Evaluation) -> RenderableType:
    """A row for each network, a column for each score that one of them has."""
    names = tuple(dict.fromkeys(score.name for row in found.rows for score in row.scores))
    columns = ("SQNR dB", *names, "bits per weight", "weight MB")
    rows = table("", ("",), columns, map(partial(_evaluated, names), found.rows))
    return Group(rows, "", f"{found.network}, {several(found.images, 'image')}; [95 % intervals]")


def _evaluated(names: Sequence[str], row: Row) -> tuple[str, ...]:
    scores = {score.name: score for score in row.scores}
    sqnr = "" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"
    sizes = f"{row.bits_per_weight:.2f}", f"{row.weight_megabytes:.3g}"
    return row.name, sqnr, *(_score(scores[name]) if name in scores else "" for name in names), *sizes


def _score(score: Score) -> str:
    interval = "" if score.low is None or score.high is None else f" [{score.low:.4g}, {score.high:.4g}]"
    return f"{score.value:.4g}{interval}"
