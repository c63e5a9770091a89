"""Models of other tools: quantization pairs, half precision, external data, operators that only users know."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bfpc.frontend.loading import load_model, simplify
from bfpc.frontend.reader import Network, read_model
from bfpc.ir.operators import Activate, Clip
from tests.networks.divided import assert_equivalent, random_inputs, read, run_onnx


def parsed(text: str, opset: int = 21, domains: str = "", **constants: NDArray[np.generic]) -> onnx.ModelProto:
    """A model in ONNX's text form, with these constants."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}{domains}]> net {text}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return model


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "network.onnx")
    return folder / "network.onnx"


def random_weights(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


PAIRS = """(float[1, 3, 8, 8] x) => (float[1, 4, 6, 6] y) {
    xq = QuantizeLinear(x, s, z)
    xr = DequantizeLinear(xq, s, z)
    w = DequantizeLinear <axis = 0> (wq, ws, wz)
    b = DequantizeLinear(bq, bs)
    c = Conv(xr, w, b)
    r = Relu(c)
    rq = QuantizeLinear(r, s, z)
    y = DequantizeLinear(rq, s, z)
}"""


def test_quantization_pairs_vanish_and_weights_become_real(tmp_path: Path) -> None:
    integers = np.random.default_rng(0).integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
    scales = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    model = parsed(
        PAIRS,
        s=np.array(0.02, np.float32),
        z=np.array(128, np.uint8),
        wq=integers,
        ws=scales,
        wz=np.array([0, 1, -2, 3], np.int8),
        bq=np.array([10, -20, 30, 40], np.int32),
        bs=np.array(0.5, np.float32),
    )
    network = read(model, tmp_path)
    assert [node.op_type for node in network.model.graph.node] == ["Conv", "Relu", "Identity"]
    assert network.warnings == (
        "4 QuantizeLinear/DequantizeLinear pairs were dropped: the network is quantized anew, from its real weights; "
        "ranges that begin or end at zero remain, as Clips",
    )
    real = (integers - np.array([0, 1, -2, 3]).reshape(4, 1, 1, 1)) * scales.reshape(4, 1, 1, 1)
    np.testing.assert_allclose(network.graph.array("w"), real, rtol=1e-6)
    np.testing.assert_allclose(network.graph.array("b"), [5, -10, 15, 20])
    assert_equivalent(network)


PAIR = """(KIND[1, 3, 8, 8] x) => (KIND[1, 4, 8, 8] y, KIND[1, 4, 8, 8] again) {
    c = Conv(x, w)
    cq = QuantizeLinear(c, ZEROS)
    cr = DequantizeLinear(cq, ZEROS)
    y = Conv(cr, v)
    second = DequantizeLinear(cq, ZEROS)
    again = Neg(second)
}"""


def pair_of(kind: type[np.floating], zeros: str, opset: int = 21, **constants: NDArray[np.generic]) -> onnx.ModelProto:
    text = PAIR.replace("KIND", "float16" if kind is np.float16 else "float").replace("ZEROS", zeros)
    w, v = random_weights(4, 3, 1, 1).astype(kind), random_weights(4, 4, 1, 1).astype(kind)
    return parsed(text, opset, "", w=w, v=v, **constants)


def clips_of(network: Network) -> list[Clip]:
    activations = [node.op.activation for node in network.graph.nodes if isinstance(node.op, Activate)]
    return [activation for activation in activations if isinstance(activation, Clip)]


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("opset", [10, 13, 21])
@pytest.mark.parametrize(
    ("zero", "bounds"),
    [
        (None, (0, 2.55)),
        (np.uint8(0), (0, 2.55)),
        (np.int8(-128), (0, 2.55)),
        (np.int8(127), (-2.55, 0)),
        (np.uint8(3), None),
        (np.int8(0), None),
    ],
)
def test_a_pair_becomes_a_clip_where_zero_is_an_end_of_its_range(
    zero: np.integer | None, bounds: tuple[float, float] | None, opset: int, kind: type[np.floating], tmp_path: Path
) -> None:
    """For another quantizer may have removed a Relu that did the same."""
    if kind is np.float16 and opset < 21:
        return  # the pairs of older opsets make float32
    constants: dict[str, NDArray[np.generic]] = {} if zero is None else {"z": np.array(zero)}
    model = pair_of(kind, "s" if zero is None else "s, z", opset, s=np.array(0.01, kind), **constants)
    network = read(model, tmp_path)
    found = [bound for clip in clips_of(network) for bound in (clip.low, clip.high)]
    assert found == pytest.approx(bounds or (), rel=2**-10)
    if bounds is not None:
        assert_equivalent(network, model, tolerance=0.03)


def test_channels_may_have_scales_of_their_own(tmp_path: Path) -> None:
    scales, zeros = np.array([0.01, 0.02, 0.03, 0.02], np.float32), np.zeros(4, np.uint8)
    network = read(pair_of(np.float32, "s, z", s=scales, z=zeros), tmp_path)
    [clip] = clips_of(network)
    assert clip.low == 0
    assert clip.high == pytest.approx(255 * 0.03)


def test_a_networks_input_has_no_activation_that_a_pair_could_replace(tmp_path: Path) -> None:
    text = """(float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
        xq = QuantizeLinear(x, s)
        xr = DequantizeLinear(xq, s)
        y = Conv(xr, w)
    }"""
    network = read(parsed(text, w=random_weights(4, 3, 1, 1), s=np.array(0.02, np.float32)), tmp_path)
    assert [node.op_type for node in network.model.graph.node] == ["Conv"]


@pytest.mark.parametrize("scales", ["s, z", "computed, z"])
def test_what_another_scale_dequantizes_is_no_pair(scales: str, tmp_path: Path) -> None:
    text = f"""(float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {{
        c = Conv(x, w)
        one = ReduceMean<keepdims = 0>(x)
        computed = Abs(one)
        cq = QuantizeLinear(c, {scales})
        cr = DequantizeLinear(cq, t, z)
        y = Conv(cr, v)
    }}"""
    s, t = np.array(0.01, np.float32), np.array(0.02, np.float32)
    model = parsed(text, w=random_weights(4, 3, 1, 1), v=random_weights(4, 4, 1, 1), s=s, t=t, z=np.array(7, np.int8))
    network = read(model, tmp_path)
    on_host = [node.operator for segment in network.host for node in segment.nodes]
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(on_host)
    assert_equivalent(network, model)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4, TensorProto.INT8, TensorProto.UINT8])
def test_dequantized_constants_are_what_onnxruntime_makes_of_them(kind: int, tmp_path: Path) -> None:
    """One scale for each two of the weights along their second axis."""
    text = """(float[1, 4] x) => (float[1, 6] y) {
        w = DequantizeLinear <axis = 1, block_size = 2> (wq, ws, wz)
        y = Gemm <transB = 1> (x, w)
    }"""
    rng = np.random.default_rng(0)
    low = 0 if kind in (TensorProto.UINT4, TensorProto.UINT8) else -8
    model = parsed(text, ws=rng.uniform(0.1, 1, (6, 2)).astype(np.float32))
    for name, shape in (("wq", (6, 4)), ("wz", (6, 2))):
        numbers = rng.integers(low, low + 16, shape)
        model.graph.initializer.append(helper.make_tensor(name, kind, shape, numbers.ravel().tolist()))
    network = read(model, tmp_path)
    assert [node.op_type for node in network.model.graph.node] == ["Gemm"]
    assert_equivalent(network, model)


def test_a_quantization_that_no_pair_undoes_stays(tmp_path: Path) -> None:
    text = """(float[1, 3, 4, 4] x) => (uint8[1, 3, 4, 4] y) {
        r = Relu(x)
        y = QuantizeLinear(r, s, z)
    }"""
    model = parsed(text, s=np.array(0.02, np.float32), z=np.array(0, np.uint8))
    loaded, notes = load_model(saved(model, tmp_path))
    assert loaded == model
    assert notes == ()


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    text = """(bfloat16[1, 3, 4, 4] x) => (bfloat16[1, 4, 4, 4] y) {
        c = Conv(x, w)
        f = Cast <to = 1> (c)
        g = Cast <to = 16> (f)
        y = Relu(g)
    }"""
    model = parsed(text)
    weight = random_weights(4, 3, 1, 1)
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.BFLOAT16, weight.shape, weight.ravel().tolist()))
    network = read(model, tmp_path)
    assert network.warnings == ("bfloat16 became float32 everywhere, in the network's inputs and outputs, too",)
    np.testing.assert_allclose(network.graph.array("w"), weight, rtol=2**-8)
    assert_equivalent(network)


def test_weights_in_external_files_are_read(tmp_path: Path) -> None:
    text = "(float[1, 3, 8, 8] x) => (float[1, 8, 6, 6] y) { y = Conv(x, w) }"
    model = parsed(text, w=random_weights(8, 3, 3, 3))
    path = tmp_path / "network.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    network = read_model(path)
    np.testing.assert_array_equal(network.graph.array("w"), random_weights(8, 3, 3, 3))
    assert_equivalent(network)


FOREIGN = """(float[N, 3, 4, 4] x) => (float[N, 4, 4, 4] y) <float[N, 3, 4, 4] a> {
    a = my.lab.Frobnicate <strength = 2> (x)
    y = Conv(a, w)
}"""


def test_what_a_model_declares_of_foreign_operators_is_kept_for_one_image(tmp_path: Path) -> None:
    path = saved(parsed(FOREIGN, domains=', "my.lab" : 1', w=random_weights(4, 3, 1, 1)), tmp_path)
    model, _ = load_model(path)
    simplified = simplify(model, path)
    frobnicate, conv = simplified.graph
    assert frobnicate.domain == "my.lab"
    assert frobnicate.outputs[0].shape == (1, 3, 4, 4)
    assert conv.outputs[0].shape == (1, 4, 4, 4)


def test_half_precision_weights_and_inputs_are_widened(tmp_path: Path) -> None:
    text = "(float16[1, 3, 8, 8] x) => (float16[1, 8, 6, 6] y) { y = Conv(x, w) }"
    model = parsed(text, w=random_weights(8, 3, 3, 3).astype(np.float16))
    network = read(model, tmp_path)
    assert network.graph.array("w").dtype == np.float32
    inputs = random_inputs(model)
    assert inputs["x"].dtype == np.float16
    assert run_onnx(model.SerializeToString(), inputs)["y"].dtype == np.float16
    assert_equivalent(network, tolerance=1e-2)
