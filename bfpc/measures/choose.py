"""Which measures a network is given, by its config, its outputs and the labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from bfpc.config import Config
from bfpc.config_measure import Measuring
from bfpc.errors import ConfigError, DataError
from bfpc.labels import Kind, Labels
from bfpc.measures.classification import Classification
from bfpc.measures.detection import Detection
from bfpc.measures.hook import Metric, load_hook
from bfpc.measures.measure import Measure
from bfpc.measures.pictures import PictureNoise
from bfpc.measures.segmentation import Segmentation
from bfpc.runtime.signature import Signature, TensorInfo

Outputs = Sequence[TensorInfo]

MAPS = "maps [images, channels, height, width]"
KINDS: dict[Kind, tuple[str, ...]] = {
    "classes": ("classification",),
    "boxes": ("detection",),
    "maps": ("segmentation", "picture"),
}


def choose_measures(config: Config, signature: Signature, labels: Labels | None) -> tuple[Measure, ...]:
    """The measures of the kind that the config names or that follows, first against labels where there are some, then
    against the float network; and the user's own metric, which stands alone where no kind is named.

    Raises a ConfigError or DataError where the config, the outputs and the labels do not fit together.
    """
    settings = config.measure
    kind = _kind(settings, signature.outputs, labels)
    chosen: tuple[Measure, ...] = ()
    if kind is not None:
        make = MAKERS[kind](config, signature)
        chosen = (*([make(True)] if labels is not None else []), make(False))
    if settings.metric is None:
        return chosen
    load_hook(settings.metric)
    return (*chosen, Metric(settings.metric))


def fitting_kinds(signature: Signature) -> dict[str, str]:
    """The kinds of measure that outputs look like, each with the name of the output that does, the likeliest first."""
    outputs = signature.outputs
    boxes = [info.name for info in outputs if _holds_boxes(info)]
    looks = {
        "classification": [info.name for info in outputs if _holds_scores(info)],
        "detection": boxes if len(outputs) > 1 else [],
        "segmentation": [info.name for info in outputs if _is_map(info) and len(info.shape) == 4],
    }
    return {kind: names[0] for kind, names in looks.items() if names}


def _kind(settings: Measuring, outputs: Outputs, labels: Labels | None) -> str | None:
    fitting = KINDS[labels.kind] if labels is not None else ()
    if settings.kind != "auto":
        if fitting and settings.kind not in fitting:
            what = f"the labels are {labels.kind if labels else ''}, which measure.kind: {settings.kind} has no use for"
            raise DataError(what, where="labels", fix=f"give other labels, or measure.kind: {' or '.join(fitting)}")
        return settings.kind
    if settings.metric is not None:
        return None
    if len(fitting) > 1:
        what = "the labels are maps, which may be masks or pictures"
        raise ConfigError(what, where="measure.kind", fix=f"give {' or '.join(fitting)}")
    if fitting:
        return fitting[0]
    return "classification" if any(map(_holds_scores, outputs)) else None


def _classification(config: Config, signature: Signature) -> Callable[[bool], Measure]:
    output = _output(
        config.measure.output, signature.outputs, _holds_scores, "measure.output", "class scores [images, classes]"
    )
    return partial(Classification, output.name)


def _segmentation(config: Config, signature: Signature) -> Callable[[bool], Measure]:
    output = _output(config.measure.output, signature.outputs, _is_map, "measure.output", MAPS)
    shorter = (config.preprocessing.resize or 0) * _height(output) / _height(signature.inputs[0])
    return partial(
        Segmentation,
        output.name,
        threshold=config.measure.threshold,
        channels_last=_channels_last(output),
        shorter=shorter if math.isfinite(shorter) else 0,
    )


def _picture(config: Config, signature: Signature) -> Callable[[bool], Measure]:
    output = _output(config.measure.output, signature.outputs, _is_map, "measure.output", MAPS)
    return partial(PictureNoise, output.name, peak=config.measure.peak)


def _detection(config: Config, signature: Signature) -> Callable[[bool], Measure]:
    detector, outputs = config.measure.detection, signature.outputs
    if detector.decode is not None:
        load_hook(detector.decode)
        return partial(Detection, detector)
    where = "measure.detection"
    boxes = _output(detector.boxes, outputs, _holds_boxes, f"{where}.boxes", "boxes [images, anchors, 4]")
    others = [output for output in outputs if output is not boxes]
    axes = 2 if detector.classes is not None else 3
    what = "scores [images, anchors, classes]" if axes == 3 else "scores [images, detections]"
    scores = _output(detector.scores, others, lambda info: len(info.shape) == axes, f"{where}.scores", what)
    if detector.classes is not None:
        _output(detector.classes, others, lambda info: False, f"{where}.classes", "classes [images, detections]")
    return partial(Detection, detector.model_copy(update={"boxes": boxes.name, "scores": scores.name}))


MAKERS: dict[str, Callable[[Config, Signature], Callable[[bool], Measure]]] = {
    "classification": _classification,
    "detection": _detection,
    "segmentation": _segmentation,
    "picture": _picture,
}


def _output(name: str | None, outputs: Outputs, fits: Callable[[TensorInfo], bool], key: str, what: str) -> TensorInfo:
    """The output of that name; without one, the first that fits. Raises ConfigError where there is none."""
    found = next((info for info in outputs if (fits(info) if name is None else info.name == name)), None)
    if found is None:
        problem = f"no output holds {what}" if name is None else f"the network has no output {name}"
        fix = f"give the name of one of its outputs: {'; '.join(map(str, outputs))}"
        raise ConfigError(problem, where=key, fix=fix)
    return found


def _holds_scores(info: TensorInfo) -> bool:
    """Whether an image has one axis of several numbers."""
    known = all(isinstance(size, int) for size in info.shape[1:])
    return info.dtype.kind == "f" and known and sum(_size(size) > 1 for size in info.shape[1:]) == 1


def _holds_boxes(info: TensorInfo) -> bool:
    return len(info.shape) == 3 and info.shape[2] == 4


def _is_map(info: TensorInfo) -> bool:
    return len(info.shape) in (3, 4) and info.dtype.kind == "f"


def _channels_last(info: TensorInfo) -> bool:
    """Whether the last axis is the shorter one: maps have fewer channels than rows."""
    return len(info.shape) == 4 and _size(info.shape[3]) < _size(info.shape[1])


def _height(info: TensorInfo) -> float:
    """Of a map; infinite where that is not known."""
    if len(info.shape) < 3:
        return math.inf
    return _size(info.shape[1 if _channels_last(info) else -2])


def _size(size: int | str | None) -> float:
    return size if isinstance(size, int) else math.inf
