"""Measures the accuracy of a network in several configs, over a data set, beside the float network.

No build is written: the emulator runs the quantized layers, onnxruntime the host's segments. Images are read where and
when they are needed, as many at a time as the model takes, so that a figure depends neither on how the images are
divided among processes nor on how many there are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

from bfpc.comparison import Score, Sums, measure, sqnr_db
from bfpc.config import Config
from bfpc.config_sections import Section
from bfpc.data import Inputs, open_inputs
from bfpc.emulator.published import published_formats, published_runner
from bfpc.emulator.session import Emulator, Maps, folded_inputs, real_values, stored_inputs
from bfpc.errors import ConfigError
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Conv
from bfpc.ir.partition import HostSegment
from bfpc.jobs import Engine
from bfpc.labels import Label, Labels, load_labels
from bfpc.measures.choose import choose_measures
from bfpc.measures.measure import Item, Measure
from bfpc.pipeline import Prepared, prepare_network, quantize_network
from bfpc.progress import Progress, silent
from bfpc.runtime.devices import Device, Runner, real_device
from bfpc.runtime.execution import Executor
from bfpc.runtime.host_model import open_host_model
from bfpc.runtime.signature import Signature, Tensors, batch_indices, first_images, input_specs, read_signature

JOB_IMAGES = 8  # enough that handing jobs over costs nothing, few enough that the cores end together
FLOAT = "float32"
FLOAT_BITS = 32
PUBLISHED_EXPONENT_BITS = 5


@dataclass(frozen=True)
class DataSet:
    """Images as `open_inputs` takes them, at most `count`, and their labels as `load_labels` takes them."""

    inputs: Path
    labels: Path | None = None
    count: int | None = None


@dataclass(frozen=True)
class WeightSize:
    """weights: of all layers. bits: that store them, exponents included."""

    weights: int
    bits: float

    @property
    def bits_per_weight(self) -> float:
        return self.bits / max(1, self.weights)

    @property
    def megabytes(self) -> float:
        return self.bits / 8e6


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


@dataclass(frozen=True)
class Candidate:
    """A compiled network. graph: quantized, or float layers where the arithmetic is the published one."""

    graph: Graph
    host: tuple[HostSegment, ...]
    config: Config


@dataclass(frozen=True)
class Task:
    """What all workers share. model: the original network, serialized; where: its file, for errors."""

    model: bytes
    where: str
    signature: Signature
    inputs: Inputs
    labels: Labels | None
    measures: tuple[Measure, ...]
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Found:
    """What a batch of images showed of one network. sums: for each output; items: for each measure, of each image."""

    sums: tuple[Sums, ...]
    items: tuple[tuple[Item, ...], ...]


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
    prepared = [(config, prepare_network(model, config, calibration, None, progress)) for config in configs.values()]
    candidates = tuple(_candidate(each, config, progress) for config, each in prepared)
    config, network = prepared[0][0], prepared[0][1].network
    signature = read_signature(network.model, network.graph)
    inputs = open_inputs(data.inputs, input_specs(signature, network.graph), config.preprocessing, data.count)
    labels = None if data.labels is None else load_labels(data.labels, inputs.names)
    measures = choose_measures(config, signature, labels)
    onnx = network.model.SerializeToString(deterministic=True)
    warnings = [warning for _, each in prepared for warning in (*each.network.warnings, *each.data.warnings)]
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


def run_task(engine: Engine, task: Task, progress: Progress, job_images: int = JOB_IMAGES) -> list[tuple[Found, ...]]:
    """For each batch of images, in order, what it showed of the float network and of each candidate."""
    batch, images = task.signature.batch, len(task.inputs)
    step = math.ceil(job_images / batch) * batch
    jobs = [range(start, min(start + step, images)) for start in range(0, images, step)]
    results = engine.map(open_task, task, jobs)
    return [found for _ in progress(jobs, "evaluating") for found in next(results)]


def open_task(task: Task) -> Callable[[range], list[tuple[Found, ...]]]:
    """Makes all networks ready to run; what it returns evaluates a range of images, batch by batch."""
    original = open_host_model(task.model, (), task.where)
    executors = [Executor(each.graph, each.host, _device(each), task.where) for each in task.candidates]

    def evaluate_images(images: range) -> list[tuple[Found, ...]]:
        return [evaluate_batch(start) for start in images[:: task.signature.batch]]

    def evaluate_batch(start: int) -> tuple[Found, ...]:
        indices = batch_indices(task.signature, start, len(task.inputs))
        feeds, used = task.inputs.take(indices), list(dict.fromkeys(indices))
        labels = None if task.labels is None else task.labels.take(used)
        take = partial(_outputs, task.signature, images=len(used))
        reference = take(original.run(feeds))
        float_found = Found((), tuple(_collect(each, reference, reference, labels) for each in task.measures))
        compare = partial(_compare, task.measures, reference, labels=labels)
        return float_found, *(compare(take(executor.run(feeds).tensors)) for executor in executors)

    return evaluate_images


def _device(candidate: Candidate) -> Device[Maps]:
    if candidate.config.arithmetic == "published":
        return real_device(candidate.graph, folded_inputs, partial(_published, candidate.config))
    return real_device(candidate.graph, _quantized_inputs, _exact)


def _quantized_inputs(graph: Graph, tensors: Tensors) -> dict[str, Maps]:
    return real_values(stored_inputs(graph, tensors))


def _exact(graph: Graph, names: Sequence[str]) -> Runner:
    return Emulator(graph, names).run


def _published(config: Config, graph: Graph, names: Sequence[str]) -> Runner:
    return published_runner(graph, config, names)


def _outputs(signature: Signature, tensors: Tensors, images: int) -> dict[str, Any]:
    """The network's outputs of the first images of a batch."""
    return {info.name: first_images(signature, tensors[info.name], images) for info in signature.outputs}


def _compare(
    measures: Sequence[Measure], reference: Tensors, outputs: Tensors, labels: Sequence[Label] | None
) -> Found:
    sums = tuple(measure(expected, outputs[name]) for name, expected in reference.items())
    return Found(sums, tuple(tuple(each.collect(outputs, reference, labels)) for each in measures))


def _collect(
    measure: Measure, outputs: Tensors, reference: Tensors, labels: Sequence[Label] | None
) -> tuple[Item, ...]:
    """What counts of the float network's outputs: nothing where they are the truth themselves."""
    return tuple(measure.collect(outputs, reference, labels)) if measure.labelled else ()


def _row(name: str, batches: Sequence[Found], measures: Sequence[Measure], size: WeightSize) -> Row:
    """One network's figures from those of all batches."""
    scores: list[Score] = []
    for index, each in enumerate(measures):
        items = [item for batch in batches for item in batch.items[index]]
        scores += each.summarize(items) if items else ()
    outputs = [reduce(add, sums) for sums in zip(*(batch.sums for batch in batches), strict=True)]
    return Row(name, output_sqnr_db(outputs), tuple(scores), size.bits_per_weight, size.megabytes)


def output_sqnr_db(outputs: Sequence[Sums]) -> float | None:
    """The SQNR of the noise relative to the signal, averaged over the outputs that are signals; None without any."""
    relative = [each.noise / (each.signal or 1.0) for each in outputs if each.is_signal]
    return sqnr_db(1.0, sum(relative) / len(relative)) if relative else None


def float_weight_size(candidate: Candidate) -> WeightSize:
    """The same weights in float32."""
    weights = weight_size(candidate).weights
    return WeightSize(weights, weights * FLOAT_BITS)


def weight_size(candidate: Candidate) -> WeightSize:
    """The weights of all layers, and the bits of their mantissas and exponents."""
    published = candidate.config.arithmetic == "published"
    sizes = _published_sizes(candidate) if published else _quantized_sizes(candidate.graph)
    return WeightSize(sum(size.weights for size in sizes), sum(size.bits for size in sizes))


def _quantized_sizes(graph: Graph) -> list[WeightSize]:
    return [
        WeightSize(
            weight.mantissas.size,
            weight.mantissas.size * weight.format.mantissa_bits + weight.offsets.size * weight.format.exponent_bits,
        )
        for weight in map(graph.weight, graph.layers)
        if weight is not None
    ]


def _published_sizes(candidate: Candidate) -> list[WeightSize]:
    """Depthwise layers stay in float32."""
    graph, format = candidate.graph, published_formats(candidate.config).weight
    dense = 1 + format.magnitude_bits + PUBLISHED_EXPONENT_BITS / format.block_size
    weighted = [(node, graph.array(node.inputs["weight"]).size) for node in graph.layers if "weight" in node.inputs]
    return [WeightSize(size, size * (dense if isinstance(node.op, Conv) else FLOAT_BITS)) for node, size in weighted]
