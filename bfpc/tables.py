"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from bfpc.comparison import Comparison, Verification
from bfpc.inspection import Inspection

NAME_WIDTH = 40
VERDICTS = {
    None: "Bits: not compared with the C++ (--csim does)",
    True: "Bits: the C++ and the emulator agree in every stored tensor",
    False: "Bits: the C++ and the emulator differ",
}


def verification(found: Verification) -> RenderableType:
    """Layers, outputs and the verdict."""
    verdict = "passed" if found.passed else "\n".join(("FAILED", *(f"  {failure}" for failure in found.failures)))
    return Group(
        _comparisons("Layers", found.layers),
        _comparisons("Outputs", found.outputs),
        VERDICTS[found.bit_exact],
        f"Verification {verdict}",
    )


def _comparisons(title: str, rows: Iterable[Comparison]) -> Table:
    cells = [
        (row.name, f"{row.sqnr_db:.1f}", f"{row.cosine:.5f}", f"{row.max_abs_error:.3g}", _percent(row.top1_agreement))
        for row in rows
    ]
    return _table(title, ("name",), ("SQNR dB", "cosine", "largest error", "top-1 agrees"), cells)


def inspection(found: Inspection) -> RenderableType:
    """Every layer, the whole, and the tour of the HLS files."""
    texts = ("layer", "operator", "reads", "weights", "writes", "tile")
    numbers = ("accumulator", "MACs", "cycles", "utilization", "weight\nbytes", "DRAM\nbytes")
    files = [(file.path, file.purpose, str(file.lines)) for file in found.hls_files]
    return Group(
        _table("Layers", texts, numbers, map(_layer, found.schedule["layers"])),
        summary(found),
        _table("HLS files", ("file", "what it is"), ("lines",), files),
    )


def _layer(layer: dict[str, Any]) -> tuple[str, ...]:
    return (
        layer["name"],
        layer["operator"],
        layer["activation_format"],
        layer["weight_format"] or "",
        layer["output_format"],
        f"{layer['program']['tile_height']} x {layer['program']['tile_width']}",
        f"{layer['accumulator_bits']} bits",
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
    return Group(
        f"{whole['network']}: {len(whole['layers'])} layers, {_count(whole['macs'])} MACs an image",
        f"Array: {array['c_vec']} lanes x {array['k_vec']} processing elements, {_percent(whole['utilization'])} used; "
        f"{_count(whole['cycles'])} cycles, {whole['milliseconds']:.3g} ms at {array['clock_mhz']:g} MHz",
        f"Weights: {_count(weights['bytes'])} bytes, {weights['bits_per_weight']:.2f} bits each "
        f"(ideal {weights['ideal_bits_per_weight']:.2f}); DRAM traffic {_count(whole['dram_bytes'])} bytes an image",
        f"Build folder: {found.folder}",
    )


def _table(title: str, texts: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in texts:
        table.add_column(column, overflow="fold", max_width=NAME_WIDTH if column == texts[0] else None)
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
