"""Measures the accuracy of a network in several configs, over a data set, beside the float network.

No build is written: the emulator runs the quantized layers, onnxruntime the host's segments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bfpc.comparison import Score
from bfpc.config import Config
from bfpc.config_sections import Section
from bfpc.data import open_inputs
from bfpc.emulator.published import published_formats
from bfpc.errors import ConfigError
from bfpc.evaluation.task import Candidate, Found, Task, output_sqnr_db, run_task
from bfpc.evaluation.weights import WeightSize, float_weight_size, weight_size
from bfpc.frontend.reader import read_model
from bfpc.jobs import Engine
from bfpc.labels import load_labels
from bfpc.measures.choose import choose_measures
from bfpc.measures.measure import Measure
from bfpc.pipeline import Prepared, prepare_network, quantize_network
from bfpc.progress import Progress, silent, step
from bfpc.runtime.signature import input_specs, read_signature

FLOAT = "float32"


@dataclass(frozen=True)
class DataSet:
    """Images as `open_inputs` takes them, at most `count`, and their labels as `load_labels` takes them."""

    inputs: Path
    labels: Path | None = None
    count: int | None = None


@dataclass(frozen=True)
class Row:
    """A network's accuracy and size.

    sqnr_db: of the noise relative to the signal, averaged over the outputs that are signals; None without any, and for
        the float network.
    """

    name: str
    sqnr_db: float | None
    scores: tuple[Score, ...]
    bits_per_weight: float
    weight_megabytes: float


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: the float network, then one row for each config."""

    network: str
    images: int
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The object that `bfpc evaluate --json` prints; its keys are documented and stay."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)


def evaluate(
    model: Path,
    configs: Mapping[str, Config],
    data: DataSet,
    engine: Engine,
    *,
    metric: str | None = None,
    calibration: Path | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Evaluates an ONNX file in each of the configs, by name.

    metric: a function of the user's, as `load_hook` reads it. calibration: as in `compile_model`. Raises a BfpcError
    where the model, a config or the data is at fault.
    """
    configs = with_shared_sections(configs, metric)
    task, warnings = make_task(model, configs, data, calibration, progress)
    found = run_task(engine, task, progress)
    names = (FLOAT, *configs)
    sizes = (float_weight_size(task.candidates[0]), *map(weight_size, task.candidates))
    rows = [
        _row(name, [batch[index] for batch in found], task.measures, size)
        for index, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]
    return Evaluation(model.stem, len(task.inputs), tuple(rows), warnings)


def make_task(
    model: Path, configs: Mapping[str, Config], data: DataSet, calibration: Path | None, progress: Progress = silent
) -> tuple[Task, tuple[str, ...]]:
    """All that workers need, and warnings. The configs have their shared sections."""
    network, config = step(progress, "reading the model", lambda: read_model(model)), next(iter(configs.values()))
    signature = read_signature(network.model, network.graph)
    inputs = open_inputs(data.inputs, input_specs(signature, network.graph), config.preprocessing, data.count)
    labels = None if data.labels is None else load_labels(data.labels, inputs.names)
    measures = choose_measures(config, signature, labels)
    # Only now what takes long: by then the data is known to fit.
    prepared = [(config, prepare_network(model, config, calibration, None, progress)) for config in configs.values()]
    candidates = tuple(_candidate(each, config, progress) for config, each in prepared)
    onnx = network.model.SerializeToString(deterministic=True)
    warnings = (*network.warnings, *(warning for _, each in prepared for warning in each.data.warnings))
    task = Task(onnx, str(model), signature, inputs, labels, measures, candidates)
    return task, tuple(dict.fromkeys(warnings))


def with_shared_sections(configs: Mapping[str, Config], metric: str | None) -> dict[str, Config]:
    """The configs with those sections that must be the same for all: what one of them gives holds for the others, too.

    metric: instead of that of the section `measure`.

    Raises ConfigError where two of them give different ones, or one has formats yet to be chosen.
    """
    for name, config in configs.items():
        if config.precision == "auto":
            fix = "choose them with bfpc search, and evaluate the config that it writes"
            raise ConfigError("the formats are not chosen yet", where=f"{name}, precision: auto", fix=fix)
    shared = {section: _shared_section(configs, section) for section in ("preprocessing", "measure")}
    if metric is not None:
        shared["measure"] = shared["measure"].model_copy(update={"metric": metric})
    return {name: config.model_copy(update=shared) for name, config in configs.items()}


def _shared_section(configs: Mapping[str, Config], section: str) -> Section:
    sections: dict[str, Section] = {name: getattr(config, section) for name, config in configs.items()}
    given = {name: value for name, value in sections.items() if value.model_fields_set} or sections
    first = next(iter(given.values()))
    if any(value != first for value in given.values()):
        what = f"the configs {', '.join(given)} differ in {section}:"
        raise ConfigError(what, where=section, fix=f"give {section}: in one of them, or evaluate them one by one")
    return first


def _candidate(prepared: Prepared, config: Config, progress: Progress) -> Candidate:
    if config.arithmetic == "published":
        published_formats(config)  # refuses what it cannot do
        return Candidate(prepared.graph, prepared.network.host, config)
    return Candidate(quantize_network(prepared, config, None, progress), prepared.network.host, config)


def _row(name: str, batches: Sequence[Found], measures: Sequence[Measure], size: WeightSize) -> Row:
    """One network's figures from those of all batches."""
    scores: list[Score] = []
    for index, each in enumerate(measures):
        items = [item for batch in batches for item in batch.items[index]]
        scores += each.summarize(items) if items else ()
    return Row(name, output_sqnr_db(batches), tuple(scores), size.bits_per_weight, size.megabytes)
