"""Steps that the accelerator leaves to the host, on maps that it makes and reads again."""

from __future__ import annotations

from tests.networks.onnx_writer import OnnxWriter, Tensor


def softmax_over_space(net: OnnxWriter, x: Tensor) -> Tensor:
    """The map times how much each position matters."""
    _, channels, height, width = x.shape
    flat = net.reshape(x, (1, channels, height * width))
    weights = net.reshape(net.node("Softmax", [flat.name], flat.shape, axis=2), x.shape)
    return net.node("Mul", [x.name, weights.name], x.shape)


def softmax_over_channels(net: OnnxWriter, x: Tensor) -> Tensor:
    """In channels last, as exporters from TensorFlow write it."""
    channels, height, width = x.shape[1:]
    last = net.node("Transpose", [x.name], (1, height, width, channels), perm=[0, 2, 3, 1])
    weights = net.node("Softmax", [last.name], last.shape, axis=3)
    return net.node("Transpose", [weights.name], x.shape, perm=[0, 3, 1, 2])


def sines(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Sin", [x.name], x.shape)


def rounded(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Floor", [x.name], x.shape)
