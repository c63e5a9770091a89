"""What was found for a network: formats, an accelerator, better weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from bfpc.tables.parts import percent, table

if TYPE_CHECKING:
    from bfpc.backend.resources import ModuleArea
    from bfpc.explore.explore import Exploration, Point
    from bfpc.search.search import Chosen
    from bfpc.training.loop import Epoch
    from bfpc.training.retrain import Retrained


def epoch_figures(epoch: Epoch, epochs: int) -> str:
    """One line for an epoch of a training, done or under way."""
    validation = "" if epoch.validation is None else f", validation {epoch.validation}"
    return f"epoch {epoch.number}/{epochs}: loss {epoch.loss:.4f}, {epoch.training}{validation}"


def retrained(found: Retrained) -> RenderableType:
    """The figures of every epoch, and whose weights were written."""
    figures = [(f"{epoch.loss:.4f}", str(epoch.training), str(epoch.validation or "")) for epoch in found.epochs]
    rows = [(str(number), *row) for number, row in enumerate(figures, 1)]
    epochs = table("", ("epoch",), ("loss", "training", "validation"), rows)
    return Group(epochs, "", f"{found.file}: the weights after epoch {found.best}")


def chosen(found: Chosen) -> RenderableType:
    """What was chosen, beside one width for all layers."""
    front = found.front
    rows = [(point.name, point) for point in front.uniform] + [("chosen", front.chosen)]
    figures = [
        (name, "" if point.accuracy is None else f"{point.accuracy:.4g}", f"{point.sqnr_db:.1f}", f"{point.cost:,.0f}")
        for name, point in rows
    ]
    return table("Formats", ("",), (front.accuracy, "SQNR dB", front.cost), figures)


def exploration(found: Exploration) -> RenderableType:
    """The front, and what the chosen accelerator takes of the device, module by module."""
    resources = tuple(found.chosen.area.shares)
    columns = ("images/s", "array", "feature depth", "positions", *map(_words, resources))
    front = [(_mark(point is found.chosen), *_explored(point)) for point in found.front]
    rows = [(module.name, *_module(module)) for module in found.chosen.area.modules]
    return Group(
        table("Front", ("",), columns, front),
        "",
        table("Modules of the chosen one", ("module",), (*map(_words, resources), "error of the logic"), rows),
        "",
        f"{found.tried} candidates, {len(found.points)} fit {found.device.name}",
    )


def _explored(point: Point) -> tuple[str, ...]:
    array = point.architecture
    size = f"{array.c_vec} x {array.k_vec}{' in DSPs' if array.multipliers == 'dsps' else ''}"
    sizes = point.rate, size, str(array.feature_depth), str(array.accumulator_positions)
    return *sizes, *map(percent, point.area.shares.values())


def _module(module: ModuleArea) -> tuple[str, ...]:
    taken = module.resources
    counts = f"{taken.logic:,.0f}", f"{taken.block_rams:g}", str(taken.urams), str(taken.dsps)
    return *counts, "not measured" if module.error is None else f"at most {module.error:.1%}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _mark(chosen: bool) -> str:
    return "chosen" if chosen else ""
