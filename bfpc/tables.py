"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table

from bfpc.comparison import Comparison, Score, ScorePair, Verification
from bfpc.inspection import Inspection

if TYPE_CHECKING:  # what the commands import that need it
    from bfpc.backend.resources import ModuleArea
    from bfpc.evaluation.evaluate import Evaluation, Row
    from bfpc.explore.explore import Exploration, Point
    from bfpc.export import Exported
    from bfpc.partition_view import PartitionView, Segment
    from bfpc.runtime.session import Ran
    from bfpc.search.search import Chosen
    from bfpc.training.loop import Epoch
    from bfpc.training.retrain import Retrained

SHOWN_NAMES = 8
VERDICTS = {
    None: "Bits: not compared with the C++ (--csim does)",
    True: "Bits: the C++ and the emulator agree in every stored tensor",
    False: "Bits: the C++ and the emulator differ",
}
FIGURES = ("SQNR dB", "cosine", "largest error")


def verification(found: Verification, report: Path) -> RenderableType:
    """Layers, outputs and the verdict."""
    verdict = "passed" if found.passed else "\n".join(("FAILED", *(f"  {failure}" for failure in found.failures)))
    outputs = [(*_comparison(row), _percent(row.top1_agreement), _percent(row.agreement)) for row in found.outputs]
    return Group(
        _table("Layers", ("layer",), FIGURES, map(_comparison, found.layers)),
        "",
        _table("Outputs", ("output",), (*FIGURES, "top-1 agrees", "elements agree"), outputs),
        "",
        *((scores(found.scores), "") if found.scores else ()),
        VERDICTS[found.bit_exact],
        f"Report: {report}",
        f"Verification {verdict}",
    )


def scores(pairs: Sequence[ScorePair]) -> Table:
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
    return _table("Scores [95 % intervals]", ("score",), ("float32", "build", "images"), rows)


def _comparison(row: Comparison) -> tuple[str, ...]:
    figures = zip((row.sqnr_db, row.cosine, row.max_abs_error), (".1f", ".5f", ".3g"), strict=True)
    return row.name, *("" if figure is None else format(figure, spec) for figure, spec in figures)


def inspection(found: Inspection) -> RenderableType:
    """Every layer's numbers and its run, the tour of the HLS files, and the whole."""
    layers = found.schedule["layers"]
    formats = ("layer", "operator", "reads", "weights", "writes")
    split = any(_passes(layer) > 1 for layer in layers)
    costs = ("tiles", *(("passes",) if split else ()), "MACs", "cycles", "array\nused", "weight\nbytes", "DRAM\nbytes")
    files = [(file.path, file.purpose, str(file.lines)) for file in found.hls_files]
    return Group(
        _table("Arithmetic", formats, ("accumulator",), map(_arithmetic, layers)),
        "",
        _table("Schedule", ("layer", "waits most for"), costs, (_costs(layer, split) for layer in layers)),
        "",
        _table("HLS files", ("file", "what it is"), ("lines",), files),
        "",
        summary(found),
    )


def _arithmetic(layer: dict[str, Any]) -> tuple[str, ...]:
    return (
        layer["name"],
        layer["operator"],
        layer["activation_format"],
        layer["weight_format"] or "",
        layer["output_format"],
        f"{layer['accumulator_bits']} bits",
    )


def _passes(layer: dict[str, Any]) -> int:
    """How often the array goes over a tile, for the digits of wide mantissas."""
    return int(layer["program"]["activation_digits"] * layer["program"]["weight_digits"])


def _costs(layer: dict[str, Any], split: bool) -> tuple[str, ...]:
    return (
        layer["name"],
        main_stall(layer["stalls"], layer["cycles"]),
        _tiles(layer["program"]),
        *((str(_passes(layer)),) if split else ()),
        _count(layer["macs"]),
        _count(layer["cycles"]),
        _percent(layer["utilization"]),
        _count(layer["weight_bytes"]),
        _count(layer["dram_bytes"]),
    )


def _tiles(program: dict[str, Any]) -> str:
    """How many spatial tiles there are, for each of which the weights are read, and their size."""
    count = program["tiles_vertical"] * program["tiles_horizontal"]
    size = f"{program['tile_height']} x {program['tile_width']}"
    return size if count == 1 else f"{count} of {size}"


def main_stall(stalls: Mapping[str, int], cycles: int) -> str:
    """What the array waits for longest, and for which share of the cycles; nothing where that is less than 1 %."""
    cause, waits = max(stalls.items(), key=lambda stall: stall[1], default=("", 0))
    return f"{cause} {waits / cycles:.0%}" if waits >= 0.01 * cycles else ""


def summary(found: Inspection) -> RenderableType:
    """The figures of the whole network, for one image."""
    whole, weights = found.schedule, found.schedule["weights"]
    array = whole["architecture"]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    bits = f"{weights['bits_per_weight']:.2f} bits each (ideal {weights['ideal_bits_per_weight']:.2f})"
    size = f"{array['c_vec']} lanes x {array['k_vec']} processing elements"
    rows = {
        "Network": f"{whole['network']}: {len(whole['layers'])} layers, {_count(whole['macs'])} MACs an image",
        "Array": f"{size}, {_percent(whole['utilization'])} used",
        "Waits most for": main_stall(whole["stalls"], whole["cycles"]),
        "Time": f"{_count(whole['cycles'])} cycles, {whole['milliseconds']:.3g} ms at {array['clock_mhz']:g} MHz",
        "Weights": f"{_count(weights['bytes'])} bytes, {bits}",
        "DRAM": f"{_count(whole['dram_bytes'])} bytes an image",
        "Build": str(found.folder),
    }
    for row in rows.items():
        table.add_row(*row)
    return table


def partition(found: PartitionView) -> RenderableType:
    """The chain of segments, what crosses between them, and for every node on the host the reason and the way out."""
    chain = Table.grid(padding=(0, 2))
    for row in _chain(found):
        chain.add_row(*row)
    whose = [segment for segment in found.segments if segment.file is not None]
    if not whose:
        return Group(chain, "", "Everything runs on the accelerator.")
    reasons = [row for segment in whose for row in _reasons(segment)]
    crossing = sum(crossing.bytes for crossing in found.crossings)
    return Group(
        chain,
        "",
        _wide_table("On the host", ("segment", "operator", "nodes", "reason", "what would help"), reasons),
        "",
        f"Crossing: {_several(len(found.crossings), 'tensor')}, {_count(crossing)} bytes an image",
        *([] if found.picture is None else [f"Picture: {found.picture}"]),
    )


def _chain(found: PartitionView) -> Iterator[tuple[str, str]]:
    """One line a segment, and between them one for each tensor that crosses."""
    crossings = {crossing.tensor: crossing for crossing in found.crossings}
    for segment in found.segments:
        accelerated = f"{_several(segment.layers, 'layer')}, {_count(segment.macs)} MACs"
        on_host = f"{_several(len(segment.nodes), 'node')}, {segment.file}"
        yield segment.name, accelerated if segment.file is None else on_host
        for crossing in (crossings[name] for name in segment.writes if name in crossings):
            yield (
                "  |",
                f"{crossing.tensor} {list(crossing.shape)}, {_count(crossing.bytes)} bytes to the {crossing.to}",
            )


def _reasons(segment: Segment) -> list[tuple[str, ...]]:
    """The nodes of a host segment, those together that are there for the same reason."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for node in segment.nodes:
        groups.setdefault((node.operator, node.reason, node.fix), []).append(node.name)
    return [(segment.name, operator, _names(names), reason, fix) for (operator, reason, fix), names in groups.items()]


def _names(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def exported(found: Exported, path: Path) -> str:
    """What an export wrote."""
    names = f"{', '.join(found.inputs)} -> {', '.join(found.outputs)}"
    return f"{path}: {names}; {found.nodes} nodes of opset {found.opset}, {_count(found.bytes)} bytes"


def epoch_figures(epoch: Epoch, epochs: int) -> str:
    """One line for an epoch of a training, done or under way."""
    validation = "" if epoch.validation is None else f", validation {epoch.validation}"
    return f"epoch {epoch.number}/{epochs}: loss {epoch.loss:.4f}, {epoch.training}{validation}"


def retrained(found: Retrained, path: Path) -> RenderableType:
    """The figures of every epoch, and whose weights were written."""
    figures = [(f"{epoch.loss:.4f}", str(epoch.training), str(epoch.validation or "")) for epoch in found.epochs]
    rows = [(str(number), *row) for number, row in enumerate(figures, 1)]
    table = _table("", ("epoch",), ("loss", "training", "validation"), rows)
    return Group(table, "", f"{path}: the weights after epoch {found.best}")


def evaluation(found: Evaluation) -> RenderableType:
    """A row for each network, a column for each score that one of them has."""
    names = tuple(dict.fromkeys(score.name for row in found.rows for score in row.scores))
    table = _table(
        "", ("",), ("SQNR dB", *names, "bits per weight", "weight MB"), map(partial(_evaluated, names), found.rows)
    )
    return Group(table, "", f"{found.network}, {_several(found.images, 'image')}; [95 % intervals]")


def _evaluated(names: Sequence[str], row: Row) -> tuple[str, ...]:
    scores = {score.name: score for score in row.scores}
    sqnr = "" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"
    sizes = f"{row.bits_per_weight:.2f}", f"{row.weight_megabytes:.3g}"
    return row.name, sqnr, *(_score(scores[name]) if name in scores else "" for name in names), *sizes


def _score(score: Score) -> str:
    interval = "" if score.low is None or score.high is None else f" [{score.low:.4g}, {score.high:.4g}]"
    return f"{score.value:.4g}{interval}"


def ran(found: Ran, path: Path) -> RenderableType:
    """What a run wrote: the outputs' shapes and types."""
    rows = [(name, f"{list(array.shape)}", str(array.dtype)) for name, array in found.outputs.items()]
    return Group(
        _table("", ("output", "shape", "type"), (), rows), "", f"{_several(found.images, 'image')}, written to {path}"
    )


def _wide_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of texts, all of which give way where the terminal is narrow."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def chosen(found: Chosen) -> RenderableType:
    """What was chosen, beside one width for all layers."""
    front = found.front
    rows = [(point.name, point) for point in front.uniform] + [("chosen", front.chosen)]
    figures = [
        (name, "" if point.accuracy is None else f"{point.accuracy:.4g}", f"{point.sqnr_db:.1f}", f"{point.cost:,.0f}")
        for name, point in rows
    ]
    return _table("Formats", ("",), (front.accuracy, "SQNR dB", front.cost), figures)


def exploration(found: Exploration) -> RenderableType:
    """The front, and what the chosen accelerator takes of the device, module by module."""
    resources = tuple(found.chosen.area.shares)
    columns = ("images/s", "array", "feature depth", "positions", *map(_words, resources))
    front = [(_mark(point is found.chosen), *_explored(point)) for point in found.front]
    rows = [(module.name, *_module(module)) for module in found.chosen.area.modules]
    return Group(
        _table("Front", ("",), columns, front),
        "",
        _table("Modules of the chosen one", ("module",), (*map(_words, resources), "error of the logic"), rows),
        "",
        f"{found.tried} candidates, {len(found.points)} fit {found.device.name}",
    )


def _explored(point: Point) -> tuple[str, ...]:
    array = point.architecture
    size = f"{array.c_vec} x {array.k_vec}{' in DSPs' if array.multipliers == 'dsps' else ''}"
    sizes = f"{point.images_per_second:.4g}", size, str(array.feature_depth), str(array.accumulator_positions)
    return *sizes, *map(_percent, point.area.shares.values())


def _module(module: ModuleArea) -> tuple[str, ...]:
    taken = module.resources
    counts = f"{taken.logic:,.0f}", f"{taken.block_rams:g}", str(taken.urams), str(taken.dsps)
    return *counts, "not measured" if module.error is None else f"at most {module.error:.1%}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _mark(chosen: bool) -> str:
    return "chosen" if chosen else ""


def _table(title: str, texts: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Its first column gives way where the terminal is narrow, unless there is text beside it that can."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False)
    for column in texts:
        table.add_column(column, overflow="fold", no_wrap=column not in (texts[0], "what it is"))
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.1%}"


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _count(number: float) -> str:
    """A large number with three digits and its power of a thousand."""
    for power in ("", "k", "M"):
        if number < 999.5:
            return f"{number:.3g}{power and ' '}{power}"
        number /= 1000
    return f"{number:.3g} G"
