"""Networks divided between the accelerator and the host: composed again, they compute what onnxruntime does."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from bfpc.errors import ModelError
from bfpc.frontend.partition import schedule
from bfpc.frontend.reader import Network
from bfpc.ir.operators import Conv
from tests.networks.divided import assert_equivalent, read


def model_of(text: str, *, opset: int = 17, domains: str = "", **weights: tuple[int, ...]) -> onnx.ModelProto:
    """A model in ONNX's text form, with random weights of the given shapes."""
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}{domains}]> net {text}')
    for name, shape in weights.items():
        scale = math.sqrt(math.prod(shape[1:]))
        model.graph.initializer.append(
            numpy_helper.from_array((rng.standard_normal(shape) / scale).astype(np.float32), name)
        )
    return model


def chain(network: Network) -> list[tuple[int, list[str]]]:
    """Stage and operators of each host segment."""
    return [(segment.stage, [node.operator for node in segment.nodes]) for segment in network.host]


def reasons(network: Network) -> dict[str, str]:
    return {node.operator: node.reason for segment in network.host for node in segment.nodes}


CONV = "Conv<pads=[1,1,1,1]>"
TAKE_LARGEST = "t, indices = TopK<axis=1>(a, k)"  # no operator of the accelerator


def test_a_network_without_offence_has_no_host(tmp_path: Path) -> None:
    network = read(
        model_of(f"(float[1,3,6,6] x) => (float[1,8,6,6] y) {{ y = {CONV}(x, w) }}", w=(8, 3, 3, 3)), tmp_path
    )
    assert network.host == ()
    assert network.warnings == ()


def test_the_host_takes_the_end(tmp_path: Path) -> None:
    text = """(float[N,3,4,4] x) => (float[N,5] best, float[N,5,1,1] logits) {
        logits = Conv(x, w)
        flat = Flatten(logits)
        best = Softmax(flat)
    }"""
    network = read(model_of(text, w=(5, 3, 4, 4)), tmp_path)
    assert chain(network) == [(1, ["Softmax"])]
    assert [port.name for port in network.graph.outputs] == ["logits", "flat"]
    assert "1 node in 1 segment: Softmax" in network.warnings[0]
    segment = onnx.load_from_string(network.host[0].model)
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in segment.graph.input] == ["N"]
    assert_equivalent(network)


def test_the_host_takes_the_start(tmp_path: Path) -> None:
    text = f"""(uint8[1,6,6,3] x) => (float[1,8,6,6] y) {{
        real = Cast<to=1>(x)
        first = Transpose<perm=[0,3,1,2]>(real)
        y = {CONV}(first, w)
    }}"""
    network = read(model_of(text, w=(8, 3, 3, 3)), tmp_path)
    assert chain(network) == [(0, ["Cast"])]
    assert [(port.name, port.axes, port.stage) for port in network.graph.inputs] == [("real", ("N", "H", "W", "C"), 0)]
    assert reasons(network)["Cast"] == "its input x is of type UINT8, not a feature map"
    assert_equivalent(network)


def test_the_host_stands_between(tmp_path: Path) -> None:
    text = f"""(float[1,3,6,6] x) => (float[1,4,6,6] y) {{
        a = {CONV}(x, w1)
        k = Constant<value_ints=[4]>()
        {TAKE_LARGEST}
        b = {CONV}(t, w2)
        c = Softmax<axis=1>(b)
        y = {CONV}(c, w3)
    }}"""
    network = read(model_of(text, w1=(8, 3, 3, 3), w2=(4, 4, 3, 3), w3=(4, 4, 3, 3)), tmp_path)
    assert chain(network) == [(1, ["TopK"]), (2, ["Softmax"])]
    assert [(port.name, port.stage) for port in network.graph.inputs] == [("x", 0), ("t", 1), ("c", 2)]
    assert network.graph.stages == {"x": 0, "a": 0, "t": 1, "b": 1, "c": 2, "y": 2}
    assert_equivalent(network)


def test_branches_share_a_segment(tmp_path: Path) -> None:
    """Both host nodes can run between the same two stages, though one of them needs no stage before it."""
    text = f"""(float[1,3,6,6] x, float[1,3,6,6] z) => (float[1,8,6,6] y) {{
        a = {CONV}(x, w1)
        b = Softmax<axis=1>(a)
        c = Softmax<axis=1>(z)
        d = {CONV}(b, w2)
        e = {CONV}(c, w3)
        y = Add(d, e)
    }}"""
    network = read(model_of(text, w1=(8, 3, 3, 3), w2=(8, 8, 3, 3), w3=(8, 3, 3, 3)), tmp_path)
    assert chain(network) == [(1, ["Softmax", "Softmax"])]
    assert_equivalent(network)


def test_inputs_that_only_the_host_reads_have_no_port(tmp_path: Path) -> None:
    text = f"""(float[1,3,6,6] x, int64[1,2] size) => (float[1,8,6,6] y, int64[1,1] area) {{
        y = {CONV}(x, w)
        one = Constant<value_ints=[1]>()
        area = ReduceProd<axes=[1]>(size)
    }}"""
    network = read(model_of(text, w=(8, 3, 3, 3)), tmp_path)
    assert [port.name for port in network.graph.inputs] == ["x"]
    assert [(segment.inputs, segment.outputs) for segment in network.host] == [(("size",), ("area",))]
    assert_equivalent(network)


def test_integers_pass_between_host_segments_and_never_enter_the_accelerator(tmp_path: Path) -> None:
    text = f"""(float[1,3,6,6] x) => (int64[1,4,6,6] found, float[1,8,6,6] y) {{
        a = {CONV}(x, w1)
        k = Constant<value_ints=[4]>()
        {TAKE_LARGEST}
        b = {CONV}(t, w2)
        c = Softmax<axis=1>(b)
        y = {CONV}(c, w3)
        large = Cast<to=7>(c)
        found = Add(indices, large)
    }}"""
    network = read(model_of(text, w1=(8, 3, 3, 3), w2=(4, 4, 3, 3), w3=(8, 4, 3, 3)), tmp_path)
    assert chain(network) == [(1, ["TopK"]), (2, ["Softmax", "Cast", "Add"])]
    assert network.host[0].outputs == ("t", "indices")
    assert network.host[1].inputs == ("b", "indices")
    assert reasons(network)["Add"] == "its input indices is of type INT64, not a feature map"
    assert_equivalent(network)


def test_shapes_known_only_at_run_time_stay_on_the_host(tmp_path: Path) -> None:
    text = f"""(float[1,3,6,6] x) => (float[M] y) {{
        a = {CONV}(x, w)
        shape = Constant<value_ints=[-1]>()
        line = Reshape(a, shape)
        zero = Constant<value_float=0.0>()
        mask = Greater(line, zero)
        kept = Compress(line, mask)
        y = Relu(kept)
    }}"""
    network = read(model_of(text, w=(8, 3, 3, 3)), tmp_path)
    assert chain(network)[0][1][-2:] == ["Compress", "Relu"]
    assert reasons(network)["Relu"] == "the shape of its input kept is known only at run time"
    assert_equivalent(network)


def test_attention_leaves_the_products_of_maps_to_the_host(tmp_path: Path) -> None:
    """A layer of a vision transformer: positions stand in one axis, on the host as on the accelerator."""
    text = """(float[1,3,32,32] x) => (float[1,64,32] y) {
        patches = Conv<strides=[4,4]>(x, w)
        line = Constant<value_ints=[1,32,64]>()
        flat = Reshape(patches, line)
        tokens = Transpose<perm=[0,2,1]>(flat)
        q = MatMul(tokens, wq)
        k = MatMul(tokens, wk)
        v = MatMul(tokens, wv)
        keys = Transpose<perm=[0,2,1]>(k)
        scores = MatMul(q, keys)
        weights = Softmax<axis=-1>(scores)
        mixed = MatMul(weights, v)
        projected = MatMul(mixed, wo)
        sum = Add(tokens, projected)
        normal = LayerNormalization(sum, g, b)
        hidden = MatMul(normal, w1)
        gelu = Gelu(hidden)
        second = MatMul(gelu, w2)
        y = Add(second, sum)
    }"""
    square = dict.fromkeys(("wq", "wk", "wv", "wo"), (32, 32))
    shapes = {"w": (32, 3, 4, 4), "g": (32,), "b": (32,), "w1": (32, 64), "w2": (64, 32), **square}
    network = read(model_of(text, opset=20, domains="", **shapes), tmp_path)
    assert chain(network) == [(1, ["MatMul", "Softmax", "MatMul"])]
    assert_equivalent(network)


def test_boxes_are_selected_on_the_host(tmp_path: Path) -> None:
    """The end of a detector: scores by Softmax, then NonMaxSuppression."""
    text = """(float[1,3,8,8] x) => (int64[M,3] selected) {
        f = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w)
        b = Conv(f, wb)
        bl = Transpose<perm=[0,2,3,1]>(b)
        bs = Constant<value_ints=[1,-1,4]>()
        boxes = Reshape(bl, bs)
        s = Conv(f, ws)
        sl = Transpose<perm=[0,2,3,1]>(s)
        ss = Constant<value_ints=[1,-1,3]>()
        logits = Reshape(sl, ss)
        likely = Softmax<axis=2>(logits)
        scores = Transpose<perm=[0,2,1]>(likely)
        most = Constant<value_ints=[10]>()
        overlap = Constant<value_floats=[0.5]>()
        selected = NonMaxSuppression(boxes, scores, most, overlap)
    }"""
    network = read(model_of(text, w=(8, 3, 3, 3), wb=(8, 8, 1, 1), ws=(6, 8, 1, 1)), tmp_path)
    assert [stage for stage, _ in chain(network)] == [1]
    assert {"Softmax", "NonMaxSuppression"} <= reasons(network).keys()
    assert sum(isinstance(node.op, Conv) for node in network.graph.nodes) >= 3
    assert_equivalent(network)


def test_control_flow_runs_on_the_host(tmp_path: Path) -> None:
    """The bodies of If read a tensor of the accelerator and a weight from outside."""
    text = f"""(float[1,3,6,6] x) => (float[1,8,6,6] y) {{
        a = {CONV}(x, w)
        sum = ReduceSum<keepdims=0>(a)
        zero = Constant<value_float=0.0>()
        positive = Greater(sum, zero)
        b = If(positive) <
            then_branch = yes () => (float[1,8,6,6] p) {{ p = Mul(a, factor) }},
            else_branch = no () => (float[1,8,6,6] q) {{ q = Neg(a) }}
        >
        y = {CONV}(b, v)
    }}"""
    network = read(model_of(text, w=(8, 3, 3, 3), v=(8, 8, 3, 3), factor=(1,)), tmp_path)
    assert "If" in reasons(network)
    assert [port.name for port in network.graph.inputs] == ["x", "b"]
    assert_equivalent(network)


LOOP = """b = Loop(three, yes, a) <
            body = step (int64 i, bool go, float[1,8,6,6] before) => (bool on, float[1,8,6,6] after) {
                on = Identity(go)
                after = Neg(before)
            }
        >"""


@pytest.mark.parametrize(("declared", "on_host"), [("<float[1,8,6,6] b>", ["Loop"]), ("", ["Loop", "Conv"])])
def test_what_a_loop_makes_is_a_map_where_its_shape_is_declared(
    declared: str, on_host: list[str], tmp_path: Path
) -> None:
    """Nothing else tells it, so without that what follows runs on the host, too."""
    text = f"""(float[1,3,6,6] x) => (float[1,8,6,6] y) {declared} {{
        a = {CONV}(x, w)
        three = Constant<value_int=3>()
        yes = Cast<to=9>(three)
        {LOOP}
        y = {CONV}(b, v)
    }}"""
    network = read(model_of(text, w=(8, 3, 3, 3), v=(8, 8, 3, 3)), tmp_path)
    assert chain(network) == [(1, on_host)]
    assert_equivalent(network)


@pytest.mark.parametrize("last", ["Relu", "Identity"])
def test_outputs_need_no_shape(last: str, tmp_path: Path) -> None:
    text = f"""(float[1,3,6,6] x) => (float[1,8,6,6] y) {{
        a = {CONV}(x, w)
        three = Constant<value_int=3>()
        yes = Cast<to=9>(three)
        {LOOP}
        y = {last}(b)
    }}"""
    model = model_of(text, w=(8, 3, 3, 3))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    network = read(model, tmp_path)
    assert "Loop" in reasons(network)
    assert_equivalent(network)


@pytest.mark.parametrize(
    ("node", "opset", "on_host"),
    [
        ("MeanVarianceNormalization(a)", 9, True),
        ("MeanVarianceNormalization<axes=[2,3]>(a)", 13, True),
        ("MeanVarianceNormalization<axes=[1,2,3]>(a)", 17, True),
        ("GroupNormalization<num_groups=2>(a, two, two)", 18, False),
        ("GroupNormalization<num_groups=2>(a, eight, eight)", 21, False),
    ],
)
@pytest.mark.parametrize("last", ["Relu(b)", "Conv(b, v)"])
def test_operators_whose_shapes_onnx_does_not_tell(
    node: str, opset: int, on_host: bool, last: str, tmp_path: Path
) -> None:
    text = f"(float[1,3,6,6] x) => (float[1,8,6,6] y) {{ a = {CONV}(x, w) b = {node} y = {last} }}"
    model = model_of(text, opset=opset, w=(8, 3, 3, 3), v=(8, 8, 1, 1), two=(2,), eight=(8,))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    network = read(model, tmp_path)
    assert ("MeanVarianceNormalization" in reasons(network)) == on_host
    assert_equivalent(network)


def test_layouts_that_only_the_host_sees_stay_there(tmp_path: Path) -> None:
    text = f"""(float[1,3,6,6] x) => (float[1,8,6,6] y, float[6,6,8] s) {{
        y = {CONV}(x, w)
        a = Softmax<axis=1>(y)
        b = Transpose<perm=[0,2,3,1]>(a)
        zero = Constant<value_ints=[0]>()
        s = Squeeze(b, zero)
    }}"""
    network = read(model_of(text, w=(8, 3, 3, 3)), tmp_path)
    assert chain(network) == [(1, ["Softmax", "Transpose", "Squeeze"])]
    assert "changes the layout" in reasons(network)["Transpose"]
    assert_equivalent(network)


def test_a_changed_layout_goes_with_the_tensor_to_the_host(tmp_path: Path) -> None:
    text = f"""(float[1,3,6,6] x) => (float[1,6,6,8] y) {{
        a = {CONV}(x, w)
        last = Transpose<perm=[0,2,3,1]>(a)
        y = Softmax<axis=3>(last)
    }}"""
    network = read(model_of(text, w=(8, 3, 3, 3)), tmp_path)
    assert chain(network) == [(1, ["Softmax"])]
    assert [(port.name, port.axes) for port in network.graph.outputs] == [("last", ("N", "H", "W", "C"))]
    assert_equivalent(network)


def test_a_returning_tensor_keeps_the_layout_of_what_it_was_made_from(tmp_path: Path) -> None:
    text = f"""(float[1,3,6,6] x) => (float[1,8,6,6] y) {{
        a = {CONV}(x, w)
        last = Transpose<perm=[0,2,3,1]>(a)
        b = Softmax<axis=3>(last)
        c = Relu(b)
        first = Transpose<perm=[0,3,1,2]>(c)
        y = {CONV}(first, v)
    }}"""
    network = read(model_of(text, w=(8, 3, 3, 3), v=(8, 8, 3, 3)), tmp_path)
    assert [(port.name, port.axes) for port in network.graph.inputs][1:] == [("b", ("N", "H", "W", "C"))]
    assert_equivalent(network)


def test_a_returning_tensor_may_have_no_axis_of_channels(tmp_path: Path) -> None:
    """Its reader says so. A convolution that sees each position by itself reads it as it is, and makes such an axis."""
    text = """(float[1,3,6,1] x) => (float[1,8,6,1] y) {
        a = Conv(x, w)
        line = Constant<value_ints=[1,1,6]>()
        flat = Reshape(a, line)
        b = Softmax<axis=2>(flat)
        map = Constant<value_ints=[1,1,6,1]>()
        back = Reshape(b, map)
        y = Conv(back, v)
    }"""
    network = read(model_of(text, w=(1, 3, 1, 1), v=(8, 1, 1, 1)), tmp_path)
    assert [(port.name, port.axes) for port in network.graph.inputs][1:] == [("b", ("N", "", "H"))]
    assert_equivalent(network)


def test_a_view_of_an_input_serves_both_devices(tmp_path: Path) -> None:
    text = f"""(float[1,6,6,3] x) => (float[1,8,6,6] y, float[1,3,6,6] z) {{
        first = Transpose<perm=[0,3,1,2]>(x)
        y = {CONV}(first, w)
        z = Softmax<axis=1>(first)
    }}"""
    network = read(model_of(text, w=(8, 3, 3, 3)), tmp_path)
    assert chain(network) == [(0, ["Transpose", "Softmax"])] or chain(network) == [(1, ["Transpose", "Softmax"])]
    assert [port.axes for port in network.graph.inputs] == [("N", "H", "W", "C")]
    assert_equivalent(network)


def test_an_island_is_left_to_the_host(tmp_path: Path) -> None:
    text = f"""(float[1,3,16,16] x) => (float[1,8,16,16] y) {{
        a = {CONV}(x, w1)
        b = Softmax<axis=1>(a)
        c = Relu(b)
        d = Neg(c)
        e = Softmax<axis=1>(d)
        y = {CONV}(e, w2)
    }}"""
    network = read(model_of(text, w1=(8, 3, 3, 3), w2=(8, 8, 3, 3)), tmp_path)
    assert chain(network) == [(1, ["Softmax", "Relu", "Neg", "Softmax"])]
    size = 2 * 4 * 8 * 16 * 16
    assert "island of 2 operators with 0.00%" in reasons(network)["Neg"]
    assert f"not worth moving {size:,} bytes" in reasons(network)["Relu"]
    assert_equivalent(network)


@pytest.mark.parametrize(("channels", "host"), [(11, ["Softmax", "Conv"]), (12, ["Softmax"])])
def test_an_island_has_less_than_a_hundredth_of_the_multiplications(
    channels: int, host: list[str], tmp_path: Path
) -> None:
    """At each position `channels` * 8 multiplications of 8960 + `channels` * 8."""
    text = f"""(float[1,8,6,6] x) => (float[1,{channels},6,6] y) {{
        a = {CONV}(x, w1)
        pooled = Conv(a, w2)
        b = Softmax<axis=1>(pooled)
        y = Conv(b, w3)
    }}"""
    network = read(model_of(text, w1=(112, 8, 3, 3), w2=(8, 112, 1, 1), w3=(channels, 8, 1, 1)), tmp_path)
    assert chain(network) == [(1, host)]
    assert_equivalent(network)


def test_a_network_without_multiplications_has_no_islands(tmp_path: Path) -> None:
    text = """(float[1,3,6,6] x) => (float[1,3,6,6] y) { a = Relu(x) y = Softmax<axis=1>(a) }"""
    network = read(model_of(text), tmp_path)
    assert [node.name for node in network.graph.nodes] == ["a"]
    assert_equivalent(network)


CUSTOM = """(float[1,3,6,6] x) => (float[1,8,6,6] y) DECLARED {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    b = mine.Sharpen(a)
    y = Conv<pads=[1,1,1,1]>(b, w2)
}"""


def custom_model(declared: str) -> onnx.ModelProto:
    text = CUSTOM.replace("DECLARED", declared)
    return model_of(text, domains=', "mine" : 1', w1=(8, 3, 3, 3), w2=(8, 8, 3, 3))


def test_an_unknown_operator_is_compiled_around(tmp_path: Path) -> None:
    network = read(custom_model("<float[1,8,6,6] b>"), tmp_path)
    assert chain(network) == [(1, ["mine.Sharpen"])]
    assert [port.name for port in network.graph.inputs] == ["x", "b"]


def test_an_unknown_operator_must_declare_what_it_makes(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"mine\.Sharpen is not of ONNX, and nothing declares .* shape of b"):
        read(custom_model(""), tmp_path)


def test_a_network_of_which_nothing_is_left_is_refused_with_all_reasons(tmp_path: Path) -> None:
    text = """(float[1,3,6,6] x) => (float[1,3,6,6] y) { a = Softmax<axis=1>(x) y = Softmax<axis=2>(a) }"""
    with pytest.raises(ModelError, match="nothing of the network is left for the accelerator: 2 nodes") as caught:
        read(model_of(text), tmp_path)
    assert "Softmax: the accelerator has no such operator" in str(caught.value)


def test_segments_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    text = "(float[N,3,4,4] x) => (float[N,5,1,1] best) { a = Conv(x, w) best = Softmax<axis=1>(a) }"
    model = model_of(text, w=(5, 3, 4, 4))
    assert read(model, tmp_path).host == read(model, tmp_path).host


# -- the schedule ------------------------------------------------------------------------------------------------------


@st.composite
def labelled_graphs(draw: st.DrawFn) -> tuple[dict[int, list[int]], set[int]]:
    """Tasks, each with those it reads, and those of the host."""
    count = draw(st.integers(1, 9))
    reads = {task: draw(st.lists(st.integers(0, task - 1), max_size=3)) if task else [] for task in range(count)}
    return reads, draw(st.sets(st.integers(0, count - 1)))


@given(labelled_graphs())
def test_the_schedule_has_the_fewest_segments(labelled: tuple[dict[int, list[int]], set[int]]) -> None:
    """No order of turns has fewer host segments than some path has changes to the host."""
    reads, host = labelled
    stages = schedule(reads, host)
    least: dict[int, int] = {}  # host segments up to a task, on the way with the most
    for task, needs in reads.items():
        before = [least[other] + (task in host and other not in host) for other in needs]
        least[task] = max([int(task in host), *before])
    assert len({stages[task] for task in host}) == max((least[task] for task in host), default=0)


@given(labelled_graphs())
def test_a_task_follows_those_it_reads(labelled: tuple[dict[int, list[int]], set[int]]) -> None:
    """Within a stage the host's segment runs before the accelerator."""
    reads, host = labelled
    stages = schedule(reads, host)
    for task, needs in reads.items():
        for other in needs:
            waits = task in host and other not in host
            assert stages[task] >= stages[other] + waits


def stages_of(reads: Mapping[str, list[str]], host: set[str]) -> dict[str, int]:
    return schedule(reads, host)


def test_the_host_begins_where_that_costs_nothing() -> None:
    assert stages_of({"h": [], "a": ["h"]}, {"h"}) == {"h": 0, "a": 0}
    assert stages_of({"h": [], "a": ["h"], "b": []}, {"h"}) == {"h": 0, "a": 0, "b": 0}
    assert stages_of({"a": [], "h": ["a"], "g": []}, {"h", "g"}) == {"a": 0, "h": 1, "g": 1}
