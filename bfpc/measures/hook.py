"""Python functions of the user's, by name: a measure of accuracy, the decoding of detections.

A metric is called with a batch of images:

    def metric(outputs, reference, labels): ...

outputs: the outputs of the quantized network by their ONNX names, arrays [images, ...]; reference: those of the float
network; labels: a list with the label of each image (a class index, `bfpc.labels.Boxes`, or an array), or None where
none were given. It returns one number for each image, the higher the better. The score is the mean over all images. For
the float network's own score it is called with that network's outputs in both places. It may run in several processes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bfpc.comparison import Score
from bfpc.errors import DataError, short
from bfpc.labels import Label
from bfpc.measures.intervals import mean
from bfpc.runtime.signature import Tensors

FIX = "name a function as module:function, of a module that is installed or lies in the working directory"


def load_hook(name: str) -> Callable[..., Any]:
    """The function `module:function`. Raises DataError where there is none, or its module cannot be imported."""
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise DataError(f"{name!r} names no function", where="metric", fix=FIX)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise DataError(f"no module {error.name}", where=name, fix=FIX) from None
    except Exception as error:  # whatever the user's module does
        what = f"importing {module_name} fails: {type(error).__name__}: {error}"
        raise DataError(what, where=name, fix="make `python -c 'import ...'` work first") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise DataError(f"{module_name} has no function {function_name}", where=name, fix=FIX)
    return function  # type: ignore[no-any-return]


def hook_file(name: str) -> Path | None:
    """The file of the function's module; None where it has none. Raises DataError like `load_hook`."""
    load_hook(name)
    file = sys.modules[name.partition(":")[0]].__file__
    return None if file is None else Path(file)


def call_hook(name: str, *arguments: Any) -> Any:
    """Calls a function of the user's. Raises DataError where it fails."""
    function = load_hook(name)
    try:
        return function(*arguments)
    except Exception as error:  # whatever the user's function does
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        line = "" if last is None else f", {last.tb_frame.f_code.co_filename}:{last.tb_lineno}"
        what = f"the function fails: {type(error).__name__}: {error}"
        raise DataError(what, where=f"{name}{line}", fix="see bfpc.measures.hook for what it is given") from error


@dataclass(frozen=True)
class Metric:
    """The measure that the function `name` is. `labelled`, for it has the float network's score beside the build's."""

    name: str
    labelled: bool = True

    def collect(self, outputs: Tensors, reference: Tensors, labels: Sequence[Label] | None) -> list[float]:
        images = len(next(iter(outputs.values())))
        returned = call_hook(self.name, dict(outputs), dict(reference), labels)
        try:
            values = np.asarray(returned, np.float64)
        except (TypeError, ValueError):
            values = np.array(np.nan)
        if values.shape != (images,) or not np.isfinite(values).all():
            what = f"the function returned {short(returned)} for a batch of {images}"
            raise DataError(what, where=self.name, fix="return one finite number for each image, as a list or array")
        return [float(value) for value in values]

    def summarize(self, items: Sequence[float]) -> tuple[Score, ...]:
        """A score of the function's name: the mean over images."""
        return mean(self.name.partition(":")[2], np.array(items))
