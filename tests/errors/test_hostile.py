"""Files that no tool writes: too large, too deep, leading elsewhere, or broken as libraries only half notice."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from bfpc.config import Config
from bfpc.pipeline import compile_model
from tests.conftest import Golden
from tests.errors.provoke import Situation, check_table, save_network, small_network, write
from tests.errors.test_builds import make_external
from tests.frontend.test_partition import custom_model
from tests.fuzz.models import sound_model
from tests.networks.onnx_writer import OnnxWriter, Tensor

COMPILE = "compile net.onnx"
Change = Callable[[onnx.ModelProto], object]


def changed(change: Change) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(sound_model())
    change(model)
    Path("net.onnx").write_bytes(model.SerializeToString())


def function_of_itself(model: onnx.ModelProto) -> None:
    node = helper.make_node("F", ["a"], ["b"], domain="mine")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    model.functions.append(helper.make_function("mine", "F", ["a"], ["b"], [node], opsets))
    model.opset_import.add(domain="mine", version=1)
    model.graph.node[2].op_type, model.graph.node[2].domain = "F", "mine"
    del model.graph.node[2].input[1:]


def external_in_a_function(model: onnx.ModelProto) -> None:
    """onnx itself overlooks tensors there."""
    value = TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    entry = value.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    node = helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(np.zeros(1, np.float32)))
    node.attribute[0].t.CopyFrom(value)
    model.functions.append(helper.make_function("mine", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 17)]))


def wide_window(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "MaxPool").attribute[0].ints[:] = [20, 20]


def set_sizes(size: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
            dim.dim_value = size

    return change


def tensor(name: str, **fields: object) -> Change:
    def change(model: onnx.ModelProto) -> None:
        found = next(each for each in model.graph.initializer if each.name == name)
        for key, value in fields.items():
            found.ClearField(key)
            if isinstance(value, list):
                getattr(found, key).extend(value)
            else:
                setattr(found, key, value)

    return change


def operand(operator: str, index: int, name: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        next(node for node in model.graph.node if node.op_type == operator).input[index] = name

    return change


def data_in_a_sparse_tensor(model: onnx.ModelProto) -> None:
    """onnx itself overlooks tensors there."""
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(TensorProto(name="s", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL))
    entry = sparse.values.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def backwards(model: onnx.ModelProto) -> None:
    nodes = [*model.graph.node][::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def sequence(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("SequenceConstruct", ["y"], ["z"]))
    value = model.graph.output.add(name="z")
    value.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


MODELS: dict[str, Change] = {
    "data elsewhere": make_external,
    "data elsewhere in a function": external_in_a_function,
    "data elsewhere in a sparse tensor": data_in_a_sparse_tensor,
    "nodes in another order": backwards,
    "data that is too short": tensor("w0", raw_data=b"\0" * 8),
    "infinite weights": tensor("w0", raw_data=np.full(8 * 27, np.inf, np.float32).tobytes()),
    "shapes that contradict each other": tensor("w2", dims=[4, 10]),
    "an operand of another type": operand("Gemm", 0, "shape"),
    "a window larger than its map": wide_window,
    "a map of more elements than any has": set_sizes(1 << 20),
    "a function that calls itself": function_of_itself,
    "constants that cannot be computed": lambda model: model.graph.node.insert(
        0, helper.make_node("Expand", ["low", "sizes"], ["e"])
    ),
    "an output that nothing makes": lambda model: model.graph.output.add(name="z"),
    "an output that is an input": lambda model: model.graph.output.append(model.graph.input[0]),
    "an output that is a sequence": sequence,
}


def name_that_is_no_text() -> None:
    content = Path("net.onnx").read_bytes()
    assert b"node_conv0" in content
    write("net.onnx", content.replace(b"node_conv0", b"node_con\xff0"))


def few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bfpc.frontend.stored_tensors.MAX_BYTES", 10)


def test_models(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = [
        Situation("a truncated file", COMPILE, lambda: write("net.onnx", Path("net.onnx").read_bytes()[:-30])),
        Situation("a name that is no text", COMPILE, name_that_is_no_text),
        Situation("more weights than ONNX holds", COMPILE, patch=few_bytes),
        Situation("a pipe", "compile pipe", lambda: os.mkfifo("pipe")),
        *(Situation(name, COMPILE, partial(changed, change)) for name, change in MODELS.items()),
        Situation("an unknown operator without shapes", COMPILE, lambda: onnx.save(custom_model(""), "net.onnx")),
    ]
    check_table(table, "hostile_model", golden, tmp_path, monkeypatch)


def laughs() -> str:
    """A few hundred bytes that stand for a billion values."""
    lines = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    return "\n".join(lines)


def test_configs(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "values within values": f"formats: {'[' * 5000}",
        "aliases of aliases": laughs(),
        "more bytes than any config has": "#" * (1 << 24) + "\n",
        "a value that is none of its tag": "formats: !!timestamp noon\n",
        "code": "formats: !!python/object/apply:os.system ['touch executed']\n",
        "a number of many digits": f"calibration: {{images: {'9' * 5000}}}\n",
        "a list as a key": "[1, 2]: 3\n",
        "a file that is extended and has a name that is too long": f"extends: {'a' * 5000}\n",
        "overrides for another network": "overrides:\n- {name: layer4.*, weight: {mantissa_bits: 8}}\n",
        "many faults": "".join(f"key{index}: 1\n" for index in range(100)),
    }
    table = [
        *(
            Situation(name, f"{COMPILE} -c ./config.yaml", partial(write, "config.yaml", text))
            for name, text in texts.items()
        ),
        Situation("formats yet to be chosen", "compile_model(model, config, output)", call=without_formats),
    ]
    check_table(table, "hostile_config", golden, tmp_path, monkeypatch)
    assert not list(tmp_path.rglob("executed"))


def without_formats() -> None:
    compile_model(Path("net.onnx"), Config(precision="auto"), Path("build"))


def two_inputs(*counts: int) -> None:
    def build(net: OnnxWriter, x: Tensor) -> Tensor:
        return net.node("Add", [x.name, net.input(*x.shape).name], x.shape)

    save_network(build, 1, 3, 8, 8)
    np.savez("data.npz", **{f"input{index}": np.zeros((count, 3, 8, 8)) for index, count in enumerate(counts)})  # type: ignore[arg-type]


def narrow_picture() -> None:
    Path("pictures").mkdir()
    Image.new("RGB", (1, 60000)).save("pictures/narrow.png")
    write("config.yaml", "preprocessing: {resize: 8192}\n")


def overflowing() -> None:
    small_network()
    model = onnx.load("net.onnx")
    weight = numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(weight * np.float32(1e30), model.graph.initializer[0].name)
    )
    onnx.save(model, "net.onnx")
    np.save("data.npy", np.full((1, 3, 8, 8), 1e20, np.float32))


def test_data(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pickled() -> None:
        np.save("data.npy", np.array([{"x": 1}]), allow_pickle=True)

    def headed(shape: str) -> None:
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
        write("data.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)

    arrays = f"{COMPILE} --calibration data.npy"
    table = [
        Situation("pickled objects", arrays, pickled),
        Situation("an array of more bytes than any", arrays, partial(headed, f"({1 << 40}, 3, 8, 8)")),
        Situation("an array that is code", arrays, partial(headed, "__import__('os').system('touch executed')")),
        Situation("a pipe", f"{COMPILE} --calibration pipe", lambda: os.mkfifo("pipe")),
        Situation("a narrow picture", f"{COMPILE} -c ./config.yaml --calibration pictures", narrow_picture),
        Situation("a network that overflows", arrays, overflowing),
        Situation("a name that is too long", f"{COMPILE} --calibration {'a' * 300}"),
    ]
    check_table(table, "hostile_data", golden, tmp_path, monkeypatch)
    assert not list(tmp_path.rglob("executed"))
