"""ONNX models that the host runs, in onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from bfpc.emulator.session import open_session
from bfpc.errors import BuildError
from bfpc.ir.partition import HostNode
from bfpc.runtime.signature import Tensors

FLOAT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
SESSION_ERRORS = (
    *(ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.InvalidGraph),
    *(ort_errors.NotImplemented, ort_errors.RuntimeException, ort_errors.InvalidProtobuf, ort_errors.EPFail),
    *(RuntimeError, ValueError),  # of what its C++ or NumPy cannot hold
)


class HostModel:
    """An ONNX model in onnxruntime, from tensors by name to tensors by name."""

    def __init__(self, session: ort.InferenceSession, where: str) -> None:
        self._session, self._where = session, where

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """All outputs; inputs are cast to the type of float that the model declares."""
        names = [value.name for value in self._session.get_outputs()]
        feeds = {value.name: _as_declared(tensors[value.name], value) for value in self._session.get_inputs()}
        try:
            return dict(zip(names, self._session.run(names, feeds), strict=True))
        except SESSION_ERRORS as error:
            fix = "check the inputs that the host reads: sizes, indices and the like"
            raise BuildError(f"onnxruntime fails: {_said(error)}", where=self._where, fix=fix) from None


def open_host_model(content: bytes, nodes: Sequence[HostNode], where: str) -> HostModel:
    """Makes a model ready to run. Raises BuildError naming those of its nodes that onnxruntime may not know."""
    try:
        return HostModel(open_session(content), where)
    except SESSION_ERRORS as error:
        custom = [f"{node.operator} ({node.name})" for node in nodes if "." in node.operator]
        what = f"onnxruntime cannot run {', '.join(custom)}" if custom else "onnxruntime cannot run the model"
        fix = "replace it by standard operators; 'bfpc verify --csim' compares at least the accelerator's bits"
        raise BuildError(f"{what}: {_said(error)}", where=where, fix=fix) from None


def _said(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _as_declared(tensor: NDArray[Any], value: ort.NodeArg) -> NDArray[Any]:
    """A tensor of floats in the element type that a session declares for an input; what else there is as it is."""
    dtype = FLOAT_TYPES.get(value.type)
    return tensor if dtype is None else tensor.astype(dtype, copy=False)
