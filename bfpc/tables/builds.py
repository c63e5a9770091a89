"""A build: its layers, what runs where, and what was made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table

from bfpc.tables.parts import count, percent, several, table, text_table

if TYPE_CHECKING:
    from bfpc.export import Exported
    from bfpc.inspection import Inspection
    from bfpc.partition_view import PartitionView, Segment
    from bfpc.runtime.session import Ran

SHOWN_NAMES = 8


def inspection(found: Inspection) -> RenderableType:
    """Every layer's numbers and its run, the tour of the HLS files, and the whole."""
    layers = found.schedule["layers"]
    formats = ("layer", "operator", "reads", "weights", "writes")
    split = any(layer["passes"] > 1 for layer in layers)
    costs = ("tiles", *(("passes",) if split else ()), "MACs", "cycles", "array\nused", "weight\nbytes", "DRAM\nbytes")
    files = [(file.path, file.purpose, str(file.lines)) for file in found.hls_files]
    return Group(
        table("Arithmetic", formats, ("accumulator",), map(_arithmetic, layers)),
        "",
        table("Schedule", ("layer", "waits most for"), costs, (_costs(layer, split) for layer in layers)),
        "",
        table("HLS files", ("file", "what it is"), ("lines",), files),
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


def _costs(layer: dict[str, Any], split: bool) -> tuple[str, ...]:
    """What a layer runs with stands at that one: cycles of both, and what they move."""
    with_another = layer["runs_with"]
    return (
        layer["name"],
        f"runs with {with_another}" if with_another else main_stall(layer["stalls"], layer["cycles"]),
        _tiles(layer["program"]),
        *((str(layer["passes"]),) if split else ()),
        count(layer["macs"]),
        "" if with_another else count(layer["cycles"]),
        "" if with_another else percent(layer["utilization"]),
        count(layer["weight_bytes"]),
        "" if with_another else count(layer["dram_bytes"]),
    )


def _tiles(program: dict[str, Any]) -> str:
    """How many spatial tiles there are, for each of which the weights are read, and their size."""
    tiles = program["tiles_vertical"] * program["tiles_horizontal"]
    size = f"{program['tile_height']} x {program['tile_width']}"
    return size if tiles == 1 else f"{tiles} of {size}"


def main_stall(stalls: Mapping[str, int], cycles: int) -> str:
    """What the array waits for longest, and for which share of the cycles; nothing where that is less than 1 %."""
    cause, waits = max(stalls.items(), key=lambda stall: stall[1], default=("", 0))
    return f"{cause} {waits / cycles:.0%}" if waits >= 0.01 * cycles else ""


def summary(found: Inspection) -> RenderableType:
    """The figures of the whole network, for one image."""
    whole, weights = found.schedule, found.schedule["weights"]
    array = whole["architecture"]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    bits = f"{weights['bits_per_weight']:.2f} bits each (ideal {weights['ideal_bits_per_weight']:.2f})"
    size = f"{array['c_vec']} lanes x {array['k_vec']} processing elements"
    rows = {
        "Network": f"{whole['network']}: {len(whole['layers'])} layers, {count(whole['macs'])} MACs an image",
        "Array": f"{size}, {percent(whole['utilization'])} used",
        "Waits most for": main_stall(whole["stalls"], whole["cycles"]) or "nothing: no cause takes 1% of the cycles",
        "Time": f"{count(whole['cycles'])} cycles, {whole['milliseconds']:.3g} ms at {array['clock_mhz']:g} MHz",
        "Weights": f"{count(weights['bytes'])} bytes, {bits}",
        "DRAM": f"{count(whole['dram_bytes'])} bytes an image",
        "Build": str(found.folder),
    }
    for row in rows.items():
        grid.add_row(*row)
    return grid


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
        text_table("On the host", ("segment", "operator", "nodes", "reason", "what would help"), reasons),
        "",
        f"Crossing: {several(len(found.crossings), 'tensor')}, {count(crossing)} bytes an image",
        *([] if found.picture is None else [f"Picture: {found.picture}"]),
    )


def _chain(found: PartitionView) -> Iterator[tuple[str, str]]:
    """One line a segment, and between them one for each tensor that crosses."""
    crossings = {crossing.tensor: crossing for crossing in found.crossings}
    for segment in found.segments:
        accelerated = f"{several(segment.layers, 'layer')}, {count(segment.macs)} MACs"
        on_host = f"{several(len(segment.nodes), 'node')}, {segment.file}"
        yield segment.name, accelerated if segment.file is None else on_host
        for crossing in (crossings[name] for name in segment.writes if name in crossings):
            yield (
                "  |",
                f"{crossing.tensor} {list(crossing.shape)}, {count(crossing.bytes)} bytes to the {crossing.to}",
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


def exported(found: Exported) -> str:
    """What an export wrote."""
    names = f"{', '.join(found.inputs)} -> {', '.join(found.outputs)}"
    return f"{found.file}: {names}; {found.nodes} nodes of opset {found.opset}, {count(found.bytes)} bytes"


def ran(found: Ran) -> RenderableType:
    """What a run wrote: the outputs' shapes and types."""
    rows = [(name, f"{list(array.shape)}", str(array.dtype)) for name, array in found.outputs.items()]
    written = f"{several(found.images, 'image')}, written to {found.file}"
    return Group(table("", ("output", "shape", "type"), (), rows), "", written)
