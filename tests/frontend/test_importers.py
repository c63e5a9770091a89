"""Each importer against onnxruntime: networks of one operator, or of the few nodes that exporters write for one."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bfpc.frontend.operators import IMPORTERS, LIMITS
from bfpc.frontend.reader import Network
from bfpc.ir.operators import Activate, Clip, Conv, Elementwise, Pad, Pass, PositionScale, PRelu, Scale, Slice, Table
from tests.networks.divided import assert_equivalent, read

Constant = NDArray[Any] | list[int] | float | None
Shape = tuple[int, ...]


class Nodes:
    """Collects ONNX nodes; a call adds one and returns its output's name."""

    def __init__(self, *shapes: Shape, opset: int = 20) -> None:
        self.inputs = {f"x{index}": tuple(map(int, shape)) for index, shape in enumerate(shapes)}
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def __call__(self, operator: str, *operands: str | Constant, **attributes: Any) -> Any:
        """The name of the output; a list of names where `outputs` says how many there are."""
        outputs = attributes.pop("outputs", 1)
        names = [f"{operator.lower()}{len(self.nodes)}_{index}" for index in range(outputs)]
        inputs = [operand if isinstance(operand, str) else self._constant(operand) for operand in operands]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def _constant(self, value: Constant) -> str:
        if value is None:
            return ""
        array = np.array(value, np.int64 if isinstance(value, list) else np.float32)
        array = value if isinstance(value, np.ndarray) and value.dtype.kind == "i" else array
        self.constants.append(numpy_helper.from_array(array, f"constant{len(self.constants)}"))
        return self.constants[-1].name

    def model(self, *outputs: str, shape: Shape | None = None) -> onnx.ModelProto:
        """The model; `shape` is of its outputs, where shape inference does not know."""
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self.inputs.items()]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", inputs, results, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)


def weights(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def accelerated(model: onnx.ModelProto, folder: Path) -> Network:
    """The network, which needs no host and computes what onnxruntime does."""
    network = read(model, folder)
    assert [f"{node.operator}: {node.reason}" for segment in network.host for node in segment.nodes] == []
    assert_equivalent(network)
    return network


def test_every_importer_has_its_limits_stated() -> None:
    assert LIMITS.keys() == IMPORTERS.keys()


# -- convolutions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_transposed_convolutions(seed: int, tmp_path: Path) -> None:
    """Any kernel, also smaller than the stride; strides, dilations, pads beyond the kernel, groups; 1-D and 2-D."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 3))
    groups = int(rng.choice([1, 1, 2, 4]))
    kernel, stride, dilation = (rng.integers(1, 5, rank) for _ in range(3))
    size = rng.integers(2, 6, rank)
    span = (kernel - 1) * dilation + 1
    full = (size - 1) * stride + span
    pads = [int(pad) for _ in range(2) for pad in rng.integers(0, np.minimum(full - 1, 2 * span) // 2 + 1)]
    extra = [int(rng.integers(0, step)) for step in stride]
    attributes: dict[str, Any] = {"strides": stride.tolist(), "dilations": dilation.tolist(), "group": groups}
    choice = rng.integers(4)
    if choice < 2:
        attributes |= {"pads": pads, "output_padding": extra}
    elif choice == 2 and (span >= stride).all():
        attributes["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER"]))
    else:
        attributes["output_shape"] = [int(rng.integers(1, extent + 1)) for extent in full]
    net = Nodes((1, 4, *size))
    y = net("ConvTranspose", "x0", weights(4, 6 // 2, *kernel), weights(groups * 3), **attributes)
    accelerated(net.model(y), tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_one_dimensional_convolutions_and_pools(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    net = Nodes((1, 4, 19))
    x = net("Conv", "x0", weights(6, 2, 3), group=2, strides=[int(rng.integers(1, 3))], dilations=[2], pads=[2, 1])
    x = net("BatchNormalization", x, *(np.abs(weights(6)) + 0.1 for _ in range(4)))
    x = net(str(rng.choice(["MaxPool", "AveragePool"])), x, kernel_shape=[3], strides=[2], pads=[1, 1])
    x = net("Conv", x, weights(5, 6, 3), auto_pad=str(rng.choice(["SAME_UPPER", "VALID"])))
    x = net(str(rng.choice(["GlobalAveragePool", "GlobalMaxPool", "Relu"])), x)
    accelerated(net.model(x), tmp_path)


def test_pointwise_convolutions_work_on_flattened_maps(tmp_path: Path) -> None:
    net = Nodes((1, 4, 3, 5))
    flat = net("Reshape", "x0", [1, 4, 15])
    accelerated(net.model(net("Conv", flat, weights(6, 4, 1), weights(6))), tmp_path)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("counts", [0, 1])
@pytest.mark.parametrize("size", [7, 8, 9])
def test_pools_in_ceil_mode_with_pads(operator: str, counts: int, size: int, tmp_path: Path) -> None:
    attributes = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1], "ceil_mode": 1}
    if operator == "AveragePool":
        attributes["count_include_pad"] = counts
    net = Nodes((1, 3, size, size + 1))
    accelerated(net.model(net(operator, "x0", **attributes)), tmp_path)


# -- linear ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 6), (1, 5, 6), (1, 3, 5, 6)])
def test_matmul_sums_over_the_last_axis(shape: Shape, tmp_path: Path) -> None:
    """Which holds the channels, made so by a transpose."""
    last = len(shape) - 1
    channels_first = (1, 6, *shape[1:-1])
    net = Nodes(channels_first)
    x = net("Conv", "x0", weights(6, 6, *[1] * (last - 1))) if last > 1 else "x0"
    moved = net("Transpose", x, perm=[0, *range(2, last + 1), 1])
    accelerated(net.model(net("Add", net("MatMul", moved, weights(6, 7)), weights(7))), tmp_path)


def test_a_constant_matrix_may_stand_on_the_left(tmp_path: Path) -> None:
    net = Nodes((1, 6, 2, 4))
    flat = net("Reshape", "x0", [1, 6, 8])
    accelerated(net.model(net("MatMul", weights(1, 5, 6), flat)), tmp_path)


def test_matmul_may_sum_over_rows_and_channels(tmp_path: Path) -> None:
    """As recurrent heads flatten [N, C, H, W] to one vector per column."""
    net = Nodes((1, 3, 4, 5))
    x = net("Conv", "x0", weights(3, 3, 1, 1))
    columns = net("Reshape", net("Transpose", x, perm=[0, 3, 1, 2]), [1, 5, 12])
    accelerated(net.model(net("MatMul", columns, weights(12, 7))), tmp_path)


# -- resizing ----------------------------------------------------------------------------------------------------------

TRANSFORMATIONS = ("half_pixel", "pytorch_half_pixel", "asymmetric", "half_pixel_symmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@pytest.mark.parametrize(
    ("transformation", "rounding"), list(product((*TRANSFORMATIONS, "tf_half_pixel_for_nn"), ROUNDINGS))
)
@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (4, 5), (0.5, 0.5), (2, 0.5)])
def test_nearest_resizing(transformation: str, rounding: str, factors: tuple[float, float], tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 6))
    modes = {"coordinate_transformation_mode": transformation, "nearest_mode": rounding, "mode": "nearest"}
    y = net("Resize", "x0", None, np.array([1, 1, *factors], np.float32), **modes)
    network = accelerated(net.model(y), tmp_path)
    assert {type(node.op) for node in network.graph.nodes} == {Pass}


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (4, 5), (8, 2), (0.5, 0.5), (1, 1 / 3), (2, 0.5)])
def test_linear_resizing(transformation: str, factors: tuple[float, float], tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 6))
    modes = {"coordinate_transformation_mode": transformation, "mode": "linear"}
    accelerated(net.model(net("Resize", "x0", None, np.array([1, 1, *factors], np.float32), **modes)), tmp_path)


@pytest.mark.parametrize(
    ("mode", "size", "target"),
    [("linear", (4, 5), (7, 13)), ("linear", (4, 5), (10, 5)), ("linear", (1, 1), (5, 3)), ("nearest", (1, 1), (5, 3))],
)
def test_resizing_with_aligned_corners_to_a_size(mode: str, size: Shape, target: Shape, tmp_path: Path) -> None:
    net = Nodes((1, 3, *size))
    modes = {"coordinate_transformation_mode": "align_corners", "mode": mode}
    accelerated(net.model(net("Resize", "x0", None, None, [1, 3, *target], **modes)), tmp_path)


@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (1, 4), (4, 3), (2, 5)])
@pytest.mark.parametrize("size", [(2, 2), (4, 7), (13, 3), (1, 32)])
@pytest.mark.parametrize("by", ["sizes", "scales"])
def test_linear_resizing_with_aligned_corners_by_a_factor(factors: Shape, size: Shape, by: str, tmp_path: Path) -> None:
    net = Nodes((1, 3, *size))
    modes = {"coordinate_transformation_mode": "align_corners", "mode": "linear"}
    target = [1, 3, size[0] * factors[0], size[1] * factors[1]]
    scales = np.array([1, 1, *factors], np.float32)
    operands = (None, target) if by == "sizes" else (scales,)
    accelerated(net.model(net("Resize", "x0", None, *operands, **modes)), tmp_path)


@pytest.mark.parametrize("target", [(7, 12), (13, 12), (4, 12), (21, 6), (21, 11), (21, 2), (14, 18)])
def test_aligned_corners_by_a_factor_along_one_axis_and_otherwise_along_the_other(
    target: Shape, tmp_path: Path
) -> None:
    """Unchanged, with the corners' distance multiplied, or smaller; channels last."""
    net = Nodes((1, 3, 7, 6))
    modes = {"coordinate_transformation_mode": "align_corners", "mode": "linear", "axes": [1, 2]}
    last = net("Transpose", "x0", perm=[0, 2, 3, 1])
    accelerated(net.model(net("Resize", last, None, None, list(target), **modes)), tmp_path)


@pytest.mark.parametrize(
    ("sizes", "modes"),
    [
        ((6, 2), {"coordinate_transformation_mode": "pytorch_half_pixel", "nearest_mode": "floor"}),
        ((3, 1), {"nearest_mode": "floor"}),
        ((3, 1), {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "round_prefer_ceil"}),
        ((5, 2), {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "round_prefer_ceil"}),
    ],
)
def test_coordinates_are_rounded_to_float32_before_the_nearest_position(
    sizes: tuple[int, int], modes: dict[str, str], tmp_path: Path
) -> None:
    """Scales such as 1 / 3 are inexact; in float64 these coordinates fall on the other side of what is rounded."""
    net, (before, after) = Nodes((1, 3, 1, sizes[0])), sizes
    resized = net("Resize", "x0", None, np.array([1, 1, 1, after / before], np.float32), mode="nearest", **modes)
    network = read(net.model(net("Conv", resized, weights(3, 3, 1, 1))), tmp_path)
    assert_equivalent(network)


def test_aligned_corners_take_one_difference_to_double_and_two_beyond(tmp_path: Path) -> None:
    net = Nodes((1, 5, 4, 4))
    modes = {"coordinate_transformation_mode": "align_corners", "mode": "linear"}
    network = read(net.model(net("Resize", "x0", None, None, [1, 5, 8, 12], **modes)), tmp_path)
    scales = [node.op.activation for node in network.graph.nodes if isinstance(node.op, Activate)]
    assert scales == [PositionScale("row"), PositionScale("column"), PositionScale("column")]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resizing_channels_last_and_in_one_dimension(mode: str, tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5), (1, 4, 7))
    last = net("Transpose", "x0", perm=[0, 2, 3, 1])
    doubled = net("Resize", last, None, np.array([2, 3], np.float32), axes=[1, 2], mode=mode)
    line = net("Resize", net("Conv", "x1", weights(4, 4, 1)), None, np.array([1, 1, 2], np.float32), mode=mode)
    accelerated(net.model(doubled, line), tmp_path)


@pytest.mark.parametrize(("opset", "operator"), [(7, "Upsample"), (9, "Upsample"), (10, "Resize")])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsampling_of_old_opsets(opset: int, operator: str, mode: str, tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5), opset=opset)
    scales = np.array([1, 1, 2, 3], np.float32)
    attributes = {"scales": scales.tolist()} if opset == 7 else {}
    y = net(operator, "x0", *([] if opset == 7 else [scales]), mode=mode, **attributes)
    accelerated(net.model(y), tmp_path)


@pytest.mark.parametrize(
    ("target", "modes"),
    [
        ([1, 3, 7, 6], {"mode": "linear"}),
        ([1, 3, 7, 6], {"mode": "nearest"}),
        ([1, 3, 8, 12], {"mode": "cubic"}),
        ([1, 3, 4, 4098], {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    ],
)
def test_other_resizing_is_left_to_the_host(target: list[int], modes: dict[str, str], tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 6))
    x = net("Conv", "x0", weights(3, 3, 3, 3), pads=[1, 1, 1, 1])
    network = read(net.model(net("Resize", x, None, None, target, **modes)), tmp_path)
    assert [node.operator for segment in network.host for node in segment.nodes] == ["Resize"]
    assert_equivalent(network)


# -- functions of one number -------------------------------------------------------------------------------------------

FUNCTIONS: list[tuple[str, dict[str, Any]]] = [
    ("Celu", {"alpha": 0.7}),
    ("Elu", {"alpha": 1.3}),
    ("Erf", {}),
    ("Exp", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("HardSigmoid", {"alpha": 0.3}),
    ("HardSwish", {}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("Abs", {}),
    ("Mish", {}),
    ("Selu", {}),
    ("Selu", {"alpha": 1.2, "gamma": 0.8}),
    ("Sigmoid", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("Tanh", {}),
    ("Neg", {}),
]


@pytest.mark.parametrize(("operator", "attributes"), FUNCTIONS)
def test_functions(operator: str, attributes: dict[str, Any], tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5))
    accelerated(net.model(net(operator, "x0", **attributes)), tmp_path)


@pytest.mark.parametrize("operator", ["Log", "Sqrt", "Reciprocal"])
def test_functions_of_positive_numbers(operator: str, tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5))
    positive = net("Add", net("Abs", "x0"), 0.5)
    accelerated(net.model(net(operator, positive)), tmp_path)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 0.5, -1.5])
def test_powers(exponent: float, tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5))
    positive = net("Add", net("Abs", "x0"), 0.5)
    accelerated(net.model(net("Pow", positive, exponent)), tmp_path)


@pytest.mark.parametrize(("operator", "clip"), [("Max", Clip(0.25)), ("Min", Clip(-np.inf, 0.25))])
def test_a_maximum_or_minimum_with_a_number_is_a_clip(operator: str, clip: Clip, tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5))
    network = accelerated(net.model(net(operator, 0.25, "x0")), tmp_path)
    assert [node.op for node in network.graph.nodes] == [Activate(clip)]


def test_hard_sigmoid_and_abs_are_exact(tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5))
    network = accelerated(net.model(net("Abs", net("HardSigmoid", "x0"))), tmp_path)
    assert [node.op for node in network.graph.nodes] == [Scale(), Activate(Clip(0, 1)), Activate(PRelu())]


# -- two maps ----------------------------------------------------------------------------------------------------------

SIZES: list[tuple[Shape, Shape]] = [
    ((1, 3, 4, 5), (1, 3, 4, 5)),
    ((1, 3, 4, 5), (1, 3, 1, 1)),
    ((1, 3, 4, 5), (1, 1, 4, 5)),
    ((1, 3, 4, 5), (1, 1, 1, 1)),
    ((1, 3, 4, 5), (1, 3, 4, 1)),
    ((1, 3, 4, 1), (1, 3, 1, 5)),
    ((1, 3, 1, 1), (1, 1, 4, 5)),
    ((1, 1, 4, 1), (1, 3, 1, 1)),
]


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shapes", SIZES)
@pytest.mark.parametrize("swapped", [False, True])
def test_arithmetic_of_two_maps_broadcasts(
    operator: str, shapes: tuple[Shape, Shape], swapped: bool, tmp_path: Path
) -> None:
    net = Nodes(*shapes)
    x, y = (net("Add", net("Abs", name), 0.5) for name in net.inputs)
    accelerated(net.model(net(operator, *((y, x) if swapped else (x, y)))), tmp_path)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_of_two_maps_channels_last(operator: str, tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5), (1, 3, 1, 1))
    x, y = (net("Transpose", net("Add", net("Abs", name), 0.5), perm=[0, 2, 3, 1]) for name in net.inputs)
    accelerated(net.model(net(operator, x, y)), tmp_path)


@pytest.mark.parametrize("operator", ["Add", "Mul", "Div"])
def test_a_map_may_meet_itself(operator: str, tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5))
    positive = net("Add", net("Abs", "x0"), 0.5)
    accelerated(net.model(net(operator, positive, positive)), tmp_path)


@pytest.mark.parametrize("operator", ["Sum", "Mean"])
def test_sums_of_many_maps(operator: str, tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5), (1, 3, 1, 1), (1, 3, 4, 5))
    network = accelerated(net.model(net(operator, "x0", "x1", "x2")), tmp_path)
    assert [type(node.op) for node in network.graph.nodes][:2] == [Elementwise, Elementwise]


def test_squeeze_and_excite(tmp_path: Path) -> None:
    net = Nodes((1, 8, 6, 5))
    pooled = net("ReduceMean", "x0", [2, 3])
    gate = net("HardSigmoid", net("Conv", net("Relu", net("Conv", pooled, weights(2, 8, 1, 1))), weights(8, 2, 1, 1)))
    network = accelerated(net.model(net("Mul", "x0", gate)), tmp_path)
    assert network.graph.nodes[-1].op == Elementwise("multiply")


# -- reductions and normalizations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [[1], [2, 3], [3], [1, 2, 3], [-1, -3]])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"])
def test_sums_over_channels_and_space(operator: str, axes: list[int], keep: int, tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5))
    accelerated(net.model(net(operator, "x0", axes, keepdims=keep)), tmp_path)


@pytest.mark.parametrize("axes", [[2, 3], [3]])
@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceMin"])
def test_extrema_over_space(operator: str, axes: list[int], tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5))
    accelerated(net.model(net(operator, "x0", axes)), tmp_path)


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceL2"])
@pytest.mark.parametrize("axes", [[3], [1, 2]])
def test_reductions_channels_last(operator: str, axes: list[int], tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5))
    accelerated(net.model(net(operator, net("Transpose", "x0", perm=[0, 2, 3, 1]), axes)), tmp_path)


def test_euclidean_norm_as_an_operator_and_as_pytorch_writes_it(tmp_path: Path) -> None:
    """The L2 normalization of SSD300: over the channels at each position, with a learned scale per channel."""
    net = Nodes((1, 6, 4, 5))
    norm = net("Expand", net("Clip", net("ReduceL2", "x0", [1]), 1e-6), [1, 6, 4, 5])
    written = net("Mul", net("Div", "x0", norm), weights(6, 1, 1))
    accelerated(net.model(written, net("LpNormalization", "x0", axis=1)), tmp_path)


def test_a_vector_of_zeros_has_a_norm(tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5))
    zeros = net("Relu", net("Sub", net("Clip", "x0", 0.0, 1.0), 0.9))
    accelerated(net.model(net("LpNormalization", zeros, axis=1)), tmp_path)


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_local_response_normalization(size: int, tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5))
    accelerated(net.model(net("LRN", "x0", size=size, alpha=0.5, beta=0.6, bias=1.5)), tmp_path)


def test_instance_group_and_layer_normalization(tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5), opset=21)
    instance = net("InstanceNormalization", "x0", weights(6), weights(6), epsilon=1e-3)
    group = net("GroupNormalization", instance, weights(6), weights(6), num_groups=3)
    layer = net("LayerNormalization", net("Transpose", group, perm=[0, 2, 3, 1]), weights(6), weights(6))
    accelerated(net.model(layer, shape=(1, 4, 5, 6)), tmp_path)


def test_group_normalization_as_pytorch_writes_it(tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5))
    grouped = net("Reshape", "x0", [0, 3, -1])
    normal = net("InstanceNormalization", grouped, np.ones(3, np.float32), np.zeros(3, np.float32))
    whole = net("Reshape", normal, [1, 6, 4, 5])
    accelerated(net.model(net("Add", net("Mul", whole, weights(6, 1, 1)), weights(6, 1, 1))), tmp_path)


@pytest.mark.parametrize("shape", [[1, 12, 4, 5], [1, 4, 60]])
def test_instance_normalization_over_shuffled_channels_is_the_hosts(shape: list[int], tmp_path: Path) -> None:
    """Neither all channels at once nor each fourth of them are groups of neighbours."""
    net = Nodes((1, 12, 4, 5))
    split = net("Reshape", net("Conv", "x0", weights(12, 12, 1, 1)), [1, 3, 4, 4, 5])
    shuffled = net("Reshape", net("Transpose", split, perm=[0, 2, 1, 3, 4]), shape)
    network = read(net.model(net("InstanceNormalization", shuffled, weights(shape[1]), weights(shape[1]))), tmp_path)
    assert network.host[-1].nodes[-1].operator == "InstanceNormalization"
    assert_equivalent(network)


def test_instance_normalization_of_transposed_positions(tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5))
    turned = net("Transpose", "x0", perm=[0, 1, 3, 2])
    accelerated(net.model(net("InstanceNormalization", turned, weights(6), weights(6)), shape=(1, 6, 5, 4)), tmp_path)


# -- layouts and parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("shape", [(1, 18, 2, 4), (1, 9, 1, 1)])
def test_depth_to_space_and_back(mode: str, shape: Shape, tmp_path: Path) -> None:
    net = Nodes(shape)
    y = net("SpaceToDepth", net("DepthToSpace", "x0", blocksize=3, mode=mode), blocksize=3)
    network = accelerated(net.model(net("Conv", y, weights(4, shape[1], 1, 1))), tmp_path)
    assert {type(node.op) for node in network.graph.nodes} == {Conv}


def pixel_shuffle(net: Nodes) -> str:
    split = net("Reshape", "x0", [1, 3, 2, 2, 4, 5])
    return str(net("Reshape", net("Transpose", split, perm=[0, 1, 4, 2, 5, 3]), [1, 3, 8, 10]))


def pixel_unshuffle(net: Nodes) -> str:
    split = net("Reshape", "x0", [1, 12, 2, 2, 1, 5])
    return str(net("Reshape", net("Transpose", split, perm=[0, 1, 3, 5, 2, 4]), [1, 120, 2, 1]))


def channel_shuffle(net: Nodes) -> str:
    split = net("Reshape", "x0", [1, 3, 4, 4, 5])
    return str(net("Reshape", net("Transpose", split, perm=[0, 2, 1, 3, 4]), [1, -1, 4, 5]))


def channel_shuffle_channels_last(net: Nodes) -> str:
    last = net("Transpose", "x0", perm=[0, 2, 3, 1])
    mixed = net("Transpose", net("Reshape", last, [1, 4, 5, 3, 4]), perm=[0, 1, 2, 4, 3])
    return str(net("Transpose", net("Reshape", mixed, [1, 4, 5, 12]), perm=[0, 3, 1, 2]))


@pytest.mark.parametrize("write", [pixel_shuffle, pixel_unshuffle, channel_shuffle, channel_shuffle_channels_last])
def test_shuffles_that_exporters_write_are_one_convolution(write: Any, tmp_path: Path) -> None:
    net = Nodes((1, 12, 4, 5))
    network = accelerated(net.model(net("Relu", write(net))), tmp_path)
    assert [type(node.op) for node in network.graph.nodes] == [Conv, Activate]
    assert set(np.unique(network.graph.array(network.graph.nodes[0].inputs["weight"]))) == {0, 1}


def test_a_vector_may_become_a_map(tmp_path: Path) -> None:
    """As generators begin: a fully connected layer, then [N, C, H, W]."""
    net = Nodes((1, 10))
    x = net("Reshape", net("Gemm", "x0", weights(10, 48)), [1, 3, 4, 4])
    accelerated(net.model(net("ConvTranspose", x, weights(3, 5, 3, 3))), tmp_path)


def test_a_split_tensor_that_never_becomes_a_map_is_the_hosts(tmp_path: Path) -> None:
    """As heads of detectors end."""
    net = Nodes((1, 4, 6, 6))
    conv = net("Conv", "x0", weights(12, 4, 3, 3))
    boxes = net("Transpose", net("Reshape", conv, [1, 3, 4, 4, 4]), perm=[0, 3, 4, 1, 2])
    network = read(net.model(net("Sigmoid", net("Reshape", boxes, [1, -1, 4]))), tmp_path)
    assert {node.operator for segment in network.host for node in segment.nodes} >= {"Sigmoid", "Transpose"}
    assert_equivalent(network)


def test_heads_that_transpose_and_reshape_are_free(tmp_path: Path) -> None:
    net = Nodes((1, 4, 6, 6))
    conv = net("Conv", "x0", weights(12, 4, 3, 3))
    network = accelerated(net.model(net("Reshape", net("Transpose", conv, perm=[0, 2, 3, 1]), [1, -1, 12])), tmp_path)
    assert [type(node.op) for node in network.graph.nodes] == [Conv]


@pytest.mark.parametrize(("axis", "sizes"), [(1, [2, 4]), (2, [1, 2, 1]), (-1, [3, 2]), (1, None)])
@pytest.mark.parametrize("opset", [11, 18])
def test_splits(axis: int, sizes: list[int] | None, opset: int, tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5), opset=opset)
    count = 3 if sizes is None else len(sizes)
    attributes: dict[str, Any] = {"axis": axis, "outputs": count}
    if sizes is None and opset == 18:
        attributes["num_outputs"] = count
    if sizes is not None and opset == 11:
        attributes["split"] = sizes
    parts = net("Split", "x0", *([sizes] if sizes and opset == 18 else []), **attributes)
    network = accelerated(net.model(*parts), tmp_path)
    assert {type(node.op) for node in network.graph.nodes} == {Slice}


@pytest.mark.parametrize(
    ("indices", "axis", "op"),
    [([2, 0, 2, 5], 1, Conv), ([-1, -2], 1, Conv), ([0, 2], 2, Slice), ([3], 3, Slice), ([1, 2, 3], 1, Slice)],
)
def test_gathering_constant_indices(indices: list[int], axis: int, op: type, tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5))
    network = accelerated(net.model(net("Gather", "x0", indices, axis=axis)), tmp_path)
    assert [type(node.op) for node in network.graph.nodes] == [op]


def test_a_slice_without_axes_is_the_whole(tmp_path: Path) -> None:
    net, none = Nodes((1, 6, 4, 5)), np.zeros(0, np.int64)
    accelerated(net.model(net("Relu", net("Slice", "x0", none, none, none))), tmp_path)


def test_gathering_one_index_drops_its_axis(tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5))
    accelerated(net.model(net("Gather", "x0", np.array(2), axis=1)), tmp_path)


@pytest.mark.parametrize(("shape", "target"), [((1, 6, 1, 1), [1, 6, 4, 5]), ((1, 1, 4, 5), [6, 4, 5]), ((1, 6), [6])])
def test_expanding(shape: Shape, target: list[int], tmp_path: Path) -> None:
    net = Nodes(shape)
    accelerated(net.model(net("Relu", net("Expand", net("Neg", "x0"), target))), tmp_path)


def test_tiling(tmp_path: Path) -> None:
    net = Nodes((1, 6, 1, 5))
    accelerated(net.model(net("Tile", "x0", [1, 1, 4, 1])), tmp_path)


@pytest.mark.parametrize(
    ("mode", "pads", "value"),
    [
        ("constant", [0, 0, 1, 2, 0, 0, 3, -1], 0.75),
        ("constant", [0, 1, 0, 2, 0, 3, 0, 0], 0.0),
        ("edge", [0, 0, 1, 2, 0, 0, 3, 0], None),
        ("reflect", [0, 0, 1, 2, 0, 0, 3, 0], None),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_padding(mode: str, pads: list[int], value: float | None, channels_last: bool, tmp_path: Path) -> None:
    net = Nodes((1, 6, 4, 5))
    x = "x0"
    if channels_last:
        x, pads = net("Transpose", x, perm=[0, 2, 3, 1]), [pads[index] for index in (0, 2, 3, 1, 4, 6, 7, 5)]
    network = accelerated(net.model(net("Pad", x, pads, value, mode=mode)), tmp_path)
    assert [type(node.op) for node in network.graph.nodes] == [Pad]


def test_tables_hold_the_steps_of_their_function(tmp_path: Path) -> None:
    net = Nodes((1, 3, 4, 5))
    network = read(net.model(net("Mish", net("Sigmoid", "x0"))), tmp_path)
    assert [node.op for node in network.graph.nodes] == [
        Activate(Table((("sigmoid",),))),
        Activate(Table((("softplus",), ("tanh",)), gated=True)),
    ]


# -- channels last -----------------------------------------------------------------------------------------------------


def test_networks_from_tensorflow_work_channels_last(tmp_path: Path) -> None:
    """Convolutions between transposes, everything else on [N, H, W, C]."""
    to_first, to_last = [0, 3, 1, 2], [0, 2, 3, 1]
    net = Nodes((1, 8, 6, 3), opset=13)
    first = net("Transpose", net("Sub", "x0", weights(3)), perm=to_first)
    x = net("Transpose", net("Conv", first, weights(4, 3, 3, 3), strides=[2, 2], pads=[0, 0, 1, 1]), perm=to_last)
    x = net("Clip", net("Add", net("Mul", x, weights(4)), weights(4)), 0.0, 6.0)
    padded = net("Pad", x, [0, 1, 0, 0, 0, 0, 2, 0])
    joined = net("Concat", x, net("Slice", padded, [0, 0], [4, 3], [1, 2]), axis=3)
    gate = net("Sigmoid", net("ReduceMean", joined, axes=[1, 2], keepdims=1))
    gated = net("Mul", joined, gate)
    larger = net("Resize", gated, None, np.array([1, 2, 2, 1], np.float32), mode="nearest")
    left, right = net("Split", larger, [3, 5], axis=3, outputs=2)
    network = accelerated(net.model(left, net("Reshape", right, [1, -1, 5])), tmp_path)
    assert network.graph.inputs[0].axes == ("N", "H", "W", "C")


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_layouts_of_inputs_follow_the_convolution_that_reads_them(order: Shape, tmp_path: Path) -> None:
    """[N, C, L], or [N, L, C] as TensorFlow has it, made a map of height 1."""
    net = Nodes(tuple((1, 4, 9)[axis] for axis in order))
    line = net("Transpose", net("Mul", "x0", 0.5), perm=list(np.argsort(order)))
    network = accelerated(net.model(net("Conv", net("Unsqueeze", line, [2]), weights(5, 4, 1, 3))), tmp_path)
    assert network.graph.value("x0").shape == (4, 1, 9)
    assert network.graph.inputs[0].axes == tuple(("N", "C", "W")[axis] for axis in order)


@pytest.mark.parametrize("shape", [(1, 20, 8), (1, 5, 4, 8)])
@pytest.mark.parametrize("host_before", [False, True])
def test_layouts_of_inputs_follow_what_works_along_the_last_axis(
    shape: Shape, host_before: bool, tmp_path: Path
) -> None:
    """Tokens [N, L, C], or windows of them, from outside or from the host."""
    net = Nodes(shape)
    tokens = net("Relu", net("Softmax", "x0", axis=-1) if host_before else "x0")
    normal = net("LayerNormalization", tokens, weights(8), weights(8))
    last = net("MatMul", net("LayerNormalization", net("MatMul", normal, weights(8, 6)), weights(6)), weights(6, 3))
    network = read(net.model(last), tmp_path)
    assert [node.operator for segment in network.host for node in segment.nodes] == ["Softmax"] * host_before
    assert [port.axes[-1] for port in network.graph.inputs] == ["C"]
    assert_equivalent(network)


def test_a_grey_picture_without_channels_is_height_and_width(tmp_path: Path) -> None:
    net = Nodes((1, 7, 9))
    network = accelerated(net.model(net("Conv", net("Unsqueeze", "x0", [1]), weights(5, 1, 3, 3))), tmp_path)
    assert network.graph.inputs[0].axes == ("N", "H", "W")
