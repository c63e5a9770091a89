"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from bfpc.comparison import Comparison, Verification
from bfpc.inspection import Inspection

VERDICTS = {
    None: "Bits: not compared with the C++ (--csim does)",
    True: "Bits: the C++ and the emulator agree in every stored tensor",
    False: "Bits: the C++ and the emulator differ",
}
FIGURES = ("SQNR dB", "cosine", "largest error")


def verification(found: Verification) -> RenderableType:
    """Layers, outputs and the verdict."""
    verdict = "passed" if found.passed else "\n".join(("FAILED", *(f"  {failure}" for failure in found.failures)))
    outputs = [(*_comparison(row), _percent(row.top1_agreement), _percent(row.agreement)) for row in found.outputs]
    return Group(
        _table("Layers", ("layer",), FIGURES, map(_comparison, found.layers)),
        "",
        _table("Outputs", ("output",), (*FIGURES, "top-1 agrees", "elements agree"), outputs),
        "",
        VERDICTS[found.bit_exact],
        f"Verification {verdict}",
    )


def _comparison(row: Comparison) -> tuple[str, ...]:
    figures = zip((row.sqnr_db, row.cosine, row.max_abs_error), (".1f", ".5f", ".3g"), strict=True)
    return row.name, *("" if figure is None else format(figure, spec) for figure, spec in figures)


def inspection(found: Inspection) -> RenderableType:
    """Every layer's numbers and its run, the tour of the HLS files, and the whole."""
    layers = found.schedule["layers"]
    formats = ("layer", "operator", "reads", "weights", "writes")
    costs = ("tile", "MACs", "cycles", "array\nused", "weight\nbytes", "DRAM\nbytes")
    files = [(file.path, file.purpose, str(file.lines)) for file in found.hls_files]
    return Group(
        _table("Arithmetic", formats, ("accumulator",), map(_arithmetic, layers)),
        "",
        _table("Schedule", ("layer", "limited by"), costs, map(_costs, layers)),
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


def _costs(layer: dict[str, Any]) -> tuple[str, ...]:
    return (
        layer["name"],
        layer["bound"],
        f"{layer['program']['tile_height']} x {layer['program']['tile_width']}",
        _count(layer["macs"]),
        _count(layer["cycles"]),
        _percent(layer["utilization"]),
        _count(layer["weight_bytes"]),
        _count(layer["dram_bytes"]),
    )


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
        "Time": f"{_count(whole['cycles'])} cycles, {whole['milliseconds']:.3g} ms at {array['clock_mhz']:g} MHz",
        "Weights": f"{_count(weights['bytes'])} bytes, {bits}",
        "DRAM": f"{_count(whole['dram_bytes'])} bytes an image",
        "Build": str(found.folder),
    }
    for row in rows.items():
        table.add_row(*row)
    return table


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


def _count(number: float) -> str:
    """A large number with three digits and its power of a thousand."""
    for power in ("", "k", "M"):
        if number < 999.5:
            return f"{number:.3g}{power and ' '}{power}"
        number /= 1000
    return f"{number:.3g} G"
