"""Two builds side by side: what differs in their figures, layers and configs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bfpc.backend.build_folder import read_manifest
from bfpc.comparison import Verification
from bfpc.errors import BuildError, first_line
from bfpc.inspection import inspect
from bfpc.report.page import VERIFICATION

LAYER_KEYS = ("activation_format", "weight_format", "output_format", "accumulator_bits", "cycles", "dram_bytes")
SIZES = ("milliseconds", "cycles", "dram_bytes", "macs", "feature_memory_words")


@dataclass(frozen=True)
class Difference:
    """One figure of both builds; None where a build has none. where: the layer that it is of, or nothing."""

    name: str
    first: Any
    second: Any
    where: str = ""

    @property
    def ratio(self) -> float | None:
        """The second over the first."""
        numbers = isinstance(self.first, int | float) and isinstance(self.second, int | float)
        return self.second / self.first if numbers and self.first else None

    @property
    def texts(self) -> tuple[str, str, str]:
        """Both and their ratio as people read them; nothing where there is none."""
        ratio = None if self.first == self.second else self.ratio
        return _text(self.first), _text(self.second), "" if ratio is None else f"{ratio:.3g}"


@dataclass(frozen=True)
class BuildDiff:
    """figures: of the whole, equal ones too. layers, config: what differs alone. equal_layers: how many don't."""

    folders: tuple[Path, Path]
    figures: tuple[Difference, ...]
    layers: tuple[Difference, ...]
    config: tuple[Difference, ...]
    equal_layers: int

    def to_json(self) -> str:
        """`figures`, `layers` and `config`, each a list of `name`, `first`, `second` and `where`; and the rest."""
        return json.dumps({**asdict(self), "folders": [str(folder) for folder in self.folders]}, indent=2)


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool | str):
        return "" if value is None else str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def diff_builds(first: Path, second: Path) -> BuildDiff:
    """Compares two build folders. Raises BuildError where one is none."""
    builds = (_figures_of(first), _figures_of(second))
    layers = list(_differing(builds[0].layers, builds[1].layers))
    names = dict.fromkeys((*builds[0].layers, *builds[1].layers))
    changed = {each.where for each in layers}
    return BuildDiff(
        (first, second),
        tuple(_pairs(builds[0].whole, builds[1].whole)),
        tuple(layers),
        tuple(each for each in _pairs(builds[0].config, builds[1].config) if each.first != each.second),
        sum(name not in changed for name in names),
    )


@dataclass(frozen=True)
class _Figures:
    """whole: by name. layers: by layer, then by name. config: by the path of the key."""

    whole: Mapping[str, Any]
    layers: Mapping[str, Mapping[str, Any]]
    config: Mapping[str, Any]


def _figures_of(folder: Path) -> _Figures:
    schedule, manifest = inspect(folder).schedule, read_manifest(folder)
    accuracy = _verification(folder)
    whole = {
        "network": schedule["network"],
        "layers": len(schedule["layers"]),
        "images_per_second": 1e3 / schedule["milliseconds"],
        **{name: schedule[name] for name in SIZES},
        "utilization": schedule["utilization"],
        "weight_bytes": schedule["weights"]["bytes"],
        "bits_per_weight": schedule["weights"]["bits_per_weight"],
        **{f"sqnr_db of {output.name}": output.sqnr_db for output in accuracy.outputs},
        **{pair.build.name: pair.build.value for pair in accuracy.scores},
        **{f"architecture.{key}": value for key, value in schedule["architecture"].items()},
    }
    sqnr_db = {layer.name: layer.sqnr_db for layer in accuracy.layers}
    layers = {
        layer["name"]: {
            **{key: layer[key] for key in LAYER_KEYS},
            **({"sqnr_db": sqnr_db[layer["name"]]} if layer["name"] in sqnr_db else {}),
        }
        for layer in schedule["layers"]
    }
    return _Figures(whole, layers, dict(_flattened(manifest["config"])))


def _verification(folder: Path) -> Verification:
    """What the last verification of a build found; nothing where there was none."""
    path = folder / VERIFICATION
    try:
        return TypeAdapter(Verification).validate_json(path.read_bytes())
    except FileNotFoundError:
        return Verification((), ())
    except (OSError, ValueError) as error:
        what = f"not what bfpc verify wrote: {first_line(error)}"
        raise BuildError(what, where=str(path), fix="verify the build again with bfpc verify") from None


def _differing(first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]]) -> Iterator[Difference]:
    """The figures of layers that differ; of a layer that one build lacks, all."""
    for layer in dict.fromkeys((*first, *second)):
        for pair in _pairs(first.get(layer, {}), second.get(layer, {})):
            if pair.first != pair.second:
                yield Difference(pair.name, pair.first, pair.second, layer)


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys((*first, *second)):
        yield Difference(name, first.get(name), second.get(name))


def _flattened(section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested sections, by the path of their keys."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
