"""The float network and compiled ones side by side, on one batch of images after another, in any process.

Images are read where and when they are needed, as many at a time as the model takes, so that a figure does not depend
on how the images are divided among processes, and memory not on how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

from bfpc.comparison import Sums, measure, sqnr_db
from bfpc.config import Config
from bfpc.data import Inputs
from bfpc.emulator.published import published_runner
from bfpc.emulator.session import Emulator, Maps, folded_inputs, real_values, stored_inputs
from bfpc.ir.graph import Graph
from bfpc.ir.partition import HostSegment
from bfpc.jobs import Engine
from bfpc.labels import Label, Labels
from bfpc.measures.measure import Item, Measure
from bfpc.progress import Progress
from bfpc.runtime.devices import Device, Runner, real_device
from bfpc.runtime.execution import Executor
from bfpc.runtime.host_model import open_host_model
from bfpc.runtime.signature import Signature, Tensors, batch_indices, first_images

JOB_IMAGES = 8  # enough that handing jobs over costs nothing, few enough that the cores end together


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


def output_noises(found: Sequence[Found]) -> tuple[float, ...]:
    """What each batch adds to the noise relative to the signal of all, averaged over the outputs that are signals.

    Empty without any.
    """
    whole = [reduce(add, sums) for sums in zip(*(batch.sums for batch in found), strict=True)]
    signals = {index: each.signal or 1.0 for index, each in enumerate(whole) if each.is_signal}
    if not signals:
        return ()
    return tuple(
        sum(batch.sums[index].noise / signal for index, signal in signals.items()) / len(signals) for batch in found
    )


def output_sqnr_db(found: Sequence[Found]) -> float | None:
    """The SQNR of these batches together; None where no output is a signal."""
    noises = output_noises(found)
    return sqnr_db(1.0, sum(noises)) if noises else None
