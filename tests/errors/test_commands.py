"""Mistakes a user can make with the commands, and the message each gets: a golden file per kind.

pytest tests/errors --update-golden    writes them anew, to be read before they are committed
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from bfpc.cli import main
from tests.conftest import Golden
from tests.errors.provoke import Prepare, Situation, check_table, save_network, small_conv, small_network, write
from tests.frontend import test_refusals as refusals
from tests.networks.onnx_writer import OnnxWriter, Tensor

COMPILE = "compile net.onnx"

# -- configs ----------------------------------------------------------------------------------------------------------

CONFIGS: Mapping[str, str | bytes] = {
    "an unknown key": "formats:\n  activations: {mantissa_bits: 8}\n",
    "a value out of range": "formats:\n  weight: {mantissa_bits: 13}\n",
    "a value that is not allowed": "formats: {weight: {block_size: 12}}\n",
    "a value of another type": "formats: {weight: {mantissa_bits: four}}\n",
    "a section that is no mapping": "formats: 8\n",
    "an override that selects nothing": "overrides:\n- weight: {mantissa_bits: 8}\n",
    "several faults": "formats:\n  weight: {mantissa_bits: 1, block: 3}\nverfy: {}\ncalibration: {images: 0}\n",
    "an array too small for the blocks": "formats: {activation: {block_size: 64}}\narchitecture: {k_vec: 32}\n",
    "an array coarser than the blocks": "formats: {weight: {block_size: 8}}\narchitecture: {block: 16}\n",
    "more outputs than lanes": "architecture: {k_vec: 128, c_vec: 64}\n",
    "no YAML": "formats: {weight\n",
    "no text": b"\xff\xfe\x00",
    "no mapping": "- int8\n",
    "a key given twice": "formats: {}\npasses: {}\nformats: {}\n",
    "a value that contains itself": "formats: &a {weight: *a}\n",
    "extends something unknown": "extends: int9\n",
    "extends several": "extends: [int8, int4]\n",
    "extends itself": "extends: ./config.yaml\n",
}


def test_configs(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = f"{COMPILE} -c ./config.yaml"
    table: list[Situation] = [
        Situation("no such preset", f"{COMPILE} -c int44"),
        Situation("no such file", f"{COMPILE} -c ./mine.yaml"),
        Situation("a folder", f"{COMPILE} -c ./folder", lambda: Path("folder").mkdir()),
        *(Situation(name, arguments, partial(write, "config.yaml", text)) for name, text in CONFIGS.items()),
        Situation("a config that is there", "init net.onnx", partial(write, "bfpc.yaml", ""), leaves="bfpc.yaml"),
        Situation("an unknown device", arguments, partial(write, "config.yaml", "architecture: {device: kv26}\n")),
    ]
    check_table(table, "config", golden, tmp_path, monkeypatch)


# -- models -----------------------------------------------------------------------------------------------------------


def changed_model(change: Callable[[onnx.ModelProto], None]) -> None:
    model = refusals.relu_model()
    change(model)
    onnx.save(model, "net.onnx")


def without_external_data() -> None:
    model = onnx.load("net.onnx")
    onnx.save(model, "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    Path("weights.bin").unlink()


def weights_that_are_not_numbers(net: OnnxWriter, x: Tensor) -> Tensor:
    weight = net.constant(np.full((4, 4, 1, 1), np.nan, np.float32))
    return net.node("Conv", [x.name, weight], x.shape)


def test_models(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, Prepare] = {
        "no such file": lambda: Path("net.onnx").unlink(),
        "an empty file": partial(write, "net.onnx", b""),
        "another file": partial(write, "net.onnx", b"an essay"),
        "external data that is missing": without_external_data,
        "operators that the accelerator lacks": partial(save_network, refusals.softmaxes, *refusals.MAP),
        "weights that are not numbers": partial(save_network, weights_that_are_not_numbers, 1, 4, 6, 6),
    }
    changes = (
        *(refusals.with_opset, refusals.with_symbolic_height, refusals.with_rank_5),
        *(refusals.without_a_shape, refusals.without_inputs),
        *(refusals.with_a_constant_output, refusals.with_nothing_to_compute, refusals.with_an_undefined_operand),
        refusals.of_the_future,
    )
    table: list[Situation] = [Situation(name, COMPILE, prepare) for name, prepare in files.items()]
    table += [
        Situation(change.__name__.replace("_", " "), COMPILE, partial(changed_model, change)) for change in changes
    ]
    table.append(Situation("a folder", "compile folder", lambda: Path("folder").mkdir()))
    check_table(table, "model", golden, tmp_path, monkeypatch)


# -- data -------------------------------------------------------------------------------------------------------------


def two_inputs(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Add", [x.name, net.input(*x.shape).name], x.shape)


def arrays(**named: Any) -> None:
    np.savez("data.npz", allow_pickle=True, **named)


def for_two_inputs(**named: Any) -> None:
    save_network(two_inputs, 1, 3, 8, 8)
    arrays(**named)


def pictures(folder: str = "pictures", config: str = "") -> None:
    Path(folder).mkdir()
    Image.new("RGB", (16, 16)).save(f"{folder}/picture.png")
    write("config.yaml", config)


def pictures_for_four_channels() -> None:
    save_network(small_conv, 1, 4, 8, 8)
    pictures()


def another_file() -> None:
    Path("pictures").mkdir()
    write("pictures/picture.png", b"no picture")


def broken_picture() -> None:
    pictures()
    path = Path("pictures/picture.png")
    Image.effect_noise((64, 64), 64).save(path)
    path.write_bytes(path.read_bytes()[:1000])


def test_data(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    map_, one = np.zeros((3, 8, 8), np.float32), np.zeros((1, 3, 8, 8), np.float32)
    of_arrays: dict[str, Prepare] = {
        "no arrays": partial(write, "data.npz", b"no arrays"),
        "objects": partial(arrays, x=np.array([None])),
        "another shape": partial(arrays, x=np.zeros((2, 8, 8, 3))),
        "no images": partial(arrays, x=one[:0]),
        "complex numbers": partial(arrays, x=map_.astype(complex)),
        "NaN": partial(arrays, x=map_ * np.nan),
        "an input without an array": partial(for_two_inputs, input0=map_, other=map_),
        "different numbers of images": partial(for_two_inputs, input0=one, input1=np.repeat(one, 2, axis=0)),
    }
    of_pictures: dict[str, Prepare] = {
        "an empty folder": lambda: Path("pictures").mkdir(),
        "a file that is no picture": another_file,
        "a broken picture": broken_picture,
        "a network that takes no pictures": pictures_for_four_channels,
    }
    configs = {
        "a crop of another size": "preprocessing: {crop: [9, 9]}\n",
        "a mean for two channels": "preprocessing: {mean: [0.5, 0.5]}\n",
    }
    table: list[Situation] = [
        Situation("no such file", f"{COMPILE} --calibration nowhere"),
        *(Situation(name, f"{COMPILE} --calibration data.npz", prepare) for name, prepare in of_arrays.items()),
        *(Situation(name, f"{COMPILE} --calibration pictures", prepare) for name, prepare in of_pictures.items()),
        *(
            Situation(name, f"{COMPILE} -c ./config.yaml --calibration pictures", partial(pictures, config=config))
            for name, config in configs.items()
        ),
    ]
    check_table(table, "data", golden, tmp_path, monkeypatch)


# -- what does not fit ------------------------------------------------------------------------------------------------


def steep_prelu(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("PRelu", [x.name, net.uniform(200, 201, 3, 1, 1)], x.shape)


def test_what_does_not_fit(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = f"{COMPILE} -c ./config.yaml"
    wide = "formats:\n  input: &wide {mantissa_bits: 12, exponent_range: 31}\n  output: *wide\n"
    narrow = "architecture: {accumulator_bits: 32}\nformats: {input: {mantissa_bits: 12, exponent_range: 20}}\n"
    cases: tuple[tuple[str, str, Prepare], ...] = (
        ("accumulators", f"{wide}  weight: {{mantissa_bits: 12, exponent_range: 9}}\n", small_network),
        ("the layer tail", wide, partial(save_network, steep_prelu, 1, 3, 8, 8)),
        ("accumulators of a given width", narrow, small_network),
        ("a slope", "", partial(save_network, steep_prelu, 1, 3, 8, 8)),
    )

    def prepare(config: str, network: Prepare) -> None:
        write("config.yaml", config)
        network()

    table = [Situation(name, arguments, partial(prepare, config, network)) for name, config, network in cases]
    check_table(table, "capacity", golden, tmp_path, monkeypatch)


# -- build folders ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small_network()
        assert CliRunner().invoke(main, COMPILE.split()).exit_code == 0
    return folder / "build"


def test_build_folders(build: Path, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> None:
        shutil.copytree(build, "build")
        Path("build/hls/src/loader.hpp").unlink()
        write("build/weights.bin", b"")

    def of_another_version() -> None:
        shutil.copytree(build, "build")
        manifest = json.loads(Path("build/manifest.json").read_text())
        write("build/manifest.json", json.dumps({**manifest, "manifest_version": 99}))

    def compiled() -> None:
        shutil.copytree(build, "build")

    def compiled_and(**named: Any) -> Prepare:
        def prepare() -> None:
            compiled()
            arrays(**named)

        return prepare

    def somebodys_own() -> None:
        Path("build").mkdir()
        write("build/thesis.txt", "")

    def without_a_compiler() -> None:
        shutil.copytree(build, "build")
        monkeypatch.setenv("CXX", "no-such-compiler")

    table: list[Situation] = [
        Situation("an output that holds something else", COMPILE, somebodys_own),
        Situation("an output that is a file", f"{COMPILE} -o net.onnx"),
        Situation("a dump into a file", f"{COMPILE} --dump-ir net.onnx"),
        Situation("an output within a file", f"{COMPILE} -o net.onnx/build"),
        Situation("verify without a build", "verify nowhere"),
        Situation("inspect without a build", "inspect nowhere"),
        Situation("inspect what is no build", "inspect build", somebodys_own),
        Situation("a build of another version", "verify build", of_another_version),
        Situation("a damaged build", "verify build", damaged),
        Situation("no C++ compiler", "verify build --csim", without_a_compiler),
        Situation("data that does not fit", "verify build --inputs nowhere", compiled),
        Situation("a run without a build", "run nowhere --input data.npz", partial(arrays, x=np.zeros((1, 3, 8, 8)))),
        Situation("a run without data", "run build --input nowhere", compiled),
        Situation("a run on another shape", "run build --input data.npz", compiled_and(x=np.zeros((1, 3, 9, 9)))),
        Situation("a run into a folder", "run build --input data.npz -o build", compiled_and(x=np.zeros((1, 3, 8, 8)))),
        Situation("an export into nowhere", "export build -o nowhere/quantized.onnx", compiled),
        Situation("an export of what is no build", "export build", somebodys_own),
        Situation("the partition of what is no build", "inspect build --partition", somebodys_own),
        Situation("the partition of another version", "inspect build --partition", of_another_version),
    ]
    check_table(table, "build", golden, tmp_path, monkeypatch)
