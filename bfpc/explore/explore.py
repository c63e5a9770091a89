"""`bfpc explore`: the accelerator for a network, or for several together, that makes most of a device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bfpc.backend.architecture import Architecture
from bfpc.backend.devices import Device
from bfpc.backend.resources import Area, estimate_area
from bfpc.config import Config
from bfpc.errors import CapacityError
from bfpc.explore.candidates import join, list_arrays, list_buffers, list_multipliers
from bfpc.explore.timing import Question, Shared, Timing, make_timer
from bfpc.jobs import Engine
from bfpc.pipeline import check_compilable
from bfpc.progress import Progress, silent


@dataclass(frozen=True)
class Point:
    """An accelerator that fits. cycles: of an image of each network."""

    architecture: Architecture
    cycles: tuple[int, ...]
    area: Area

    @property
    def images_per_second(self) -> float:
        """Of every network, where they take turns, an image each."""
        return self.architecture.clock_mhz * 1e6 / sum(self.cycles)

    @property
    def rate(self) -> str:
        """`images_per_second` as people read it."""
        rate = self.images_per_second
        return f"{rate:.4g}" if rate < 1e4 else f"{rate:,.0f}"


@dataclass(frozen=True)
class Exploration:
    """What was found. front: from the smallest to the fastest; points: all that fit; tried: all candidates."""

    models: tuple[Path, ...]
    device: Device
    fps: float | None
    tried: int
    points: tuple[Point, ...]
    front: tuple[Point, ...]
    chosen: Point


def explore(
    models: Sequence[Path],
    config: Config,
    device: Device,
    engine: Engine,
    *,
    fps: float | None = None,
    calibration: Path | None = None,
    progress: Progress = silent,
) -> Exploration:
    """The most images per second in a device; with `fps` the least of the device that reaches so many.

    Raises a BfpcError where the models, the config or the data are at fault, no candidate fits or none is fast enough.
    """
    check_compilable(config)
    arrays = list_arrays(config)
    questions = [Question(network, array) for array in arrays for network in range(len(models))]
    shared = Shared(tuple(models), config, device, calibration)
    timed = zip(progress(questions, "timing arrays"), engine.map(make_timer, shared, questions), strict=True)
    answers = [answer for _, answer in timed]
    by_array = [answers[first : first + len(models)] for first in range(0, len(answers), len(models))]
    candidates = [timings for array in by_array for timings in zip(*array, strict=True)]
    estimated = progress(candidates, "estimating areas")
    points = tuple(point for timings in estimated for point in _points(timings, config, device))
    if not points:
        raise _nothing_fits(candidates, config, device)
    front = pareto_front(points)
    tried = (
        len(arrays) * len(list_buffers(config)) * len(list(list_multipliers(points[0].architecture, config, device)))
    )
    return Exploration(tuple(models), device, fps, tried, points, front, _choose(front, device, fps))


def pareto_front(points: Iterable[Point]) -> tuple[Point, ...]:
    """Those that no other beats in area and rate, from the smallest to the fastest."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.area.fullest, -point.images_per_second)):
        if not front or point.images_per_second > front[-1].images_per_second:
            front.append(point)
    return tuple(front)


def _points(timings: Sequence[Timing], config: Config, device: Device) -> Iterator[Point]:
    """An accelerator for all networks, with products in logic and in DSPs, where it fits."""
    architectures = [timing.architecture for timing in timings if timing.architecture is not None]
    cycles = tuple(timing.cycles for timing in timings if timing.cycles is not None)
    if len(cycles) < len(timings):
        return
    for architecture in list_multipliers(join(architectures), config, device):
        area = estimate_area(architecture, device)
        if area.fits:
            yield Point(architecture, cycles, area)


def _choose(front: Sequence[Point], device: Device, fps: float | None) -> Point:
    if fps is None:
        return front[-1]
    for point in front:
        if point.images_per_second >= fps:
            return point
    raise CapacityError(
        f"the fastest accelerator that fits {device.name} makes {front[-1].rate} images a second",
        where=f"--fps {fps:.10g}",
        fix="give a larger --device, narrower formats or fewer --fps",
    )


def _nothing_fits(candidates: Iterable[Sequence[Timing]], config: Config, device: Device) -> CapacityError:
    smallest, resource = math.inf, ""
    for timings in candidates:
        architectures = [timing.architecture for timing in timings if timing.architecture is not None]
        if len(architectures) == len(timings):
            for architecture in list_multipliers(join(architectures), config, device):
                area = estimate_area(architecture, device)
                if area.fullest < smallest:
                    smallest, resource = area.fullest, area.scarcest
    if not resource:
        what, fix = "no candidate's buffers hold every layer", "leave feature_depth and accumulator_positions open"
    else:
        what = f"the smallest candidate takes {smallest:.0%} of what {device.name} can fill of its {resource}"
        fix = "give a larger --device, or narrower formats"
    return CapacityError(what, where=f"--device {device.name}", fix=fix)
