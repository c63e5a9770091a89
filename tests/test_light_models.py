"""The light models of the onnx package, full-size networks of opset 9 whose weights are constants, get a schedule."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from bfpc import pipeline
from bfpc.config import Config

LIGHT_MODELS = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
CONVOLUTIONS = {
    "light_bvlc_alexnet": 5,
    "light_densenet121": 121,
    "light_inception_v1": 57,
    "light_inception_v2": 69,
    "light_resnet50": 53,
    "light_shufflenet": 49,
    "light_squeezenet": 26,
    "light_vgg19": 16,
    "light_zfnet512": 5,
}
CONFIG = Config.model_validate(
    {"passes": {"compensate_rounding": False, "correct_bias": False}, "calibration": {"images": 1}}
)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_all_but_the_softmax_runs_in_one_stage(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "make_vectors", lambda *_: None)
    monkeypatch.setattr(pipeline, "write_build", lambda *_: None)
    design = pipeline.compile_model(LIGHT_MODELS / f"{name}.onnx", CONFIG, tmp_path / "build").design
    assert {node.operator for segment in design.host for node in segment.nodes} <= {"Softmax"}
    assert set(design.graph.stages.values()) == {0}
    assert len(design.schedule.layers) >= CONVOLUTIONS[name]
