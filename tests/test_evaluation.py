"""Evaluation: the figures of a verification and of onnxruntime, however the images are divided, batch by batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner

from bfpc.cli import main
from bfpc.config import Config, load_config
from bfpc.config_sections import Preprocessing
from bfpc.data import Array, Inputs
from bfpc.errors import ConfigError, DataError
from bfpc.evaluation.evaluate import DataSet, Evaluation, evaluate, make_task, with_shared_sections
from bfpc.evaluation.task import Task, run_task
from bfpc.jobs import Engine, open_engine
from bfpc.pipeline import compile_model
from bfpc.progress import silent
from bfpc.verify import verify
from tests.networks.onnx_writer import OnnxWriter
from tests.test_runtime import SHAPE, conv, ends_in_indices, pictures, with_host_between

IMAGES = 11
CLASSES = 10


def classifier(batch: str | int = 1) -> onnx.ModelProto:
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    pooled = net.node("GlobalAveragePool", [conv(net, net.input(1, 3, *SHAPE), 32).name], (1, 32, 1, 1))
    flat = net.node("Flatten", [pooled.name], (1, 32))
    return net.finish("classifier", [net.node("Gemm", [flat.name, net.normal(32, CLASSES)], (1, CLASSES))], batch=batch)


@dataclass(frozen=True)
class Case:
    """A model and its data in a folder."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "network.onnx"

    def data(self, count: int | None = None) -> DataSet:
        return DataSet(self.folder / "images.npy", self.folder / "labels.npy", count)

    def evaluate(self, *presets: str, engine: Engine | None = None, data: DataSet | None = None) -> Evaluation:
        configs, calibration = {name: load_config(name) for name in presets}, self.folder / "calibration.npy"
        with open_engine(processes=1) as here:
            return evaluate(self.model, configs, data or self.data(), engine or here, calibration=calibration)

    def task(self) -> Task:
        return make_task(self.model, {"int8": load_config("int8")}, self.data(), self.folder / "calibration.npy")[0]


def case_of(model: onnx.ModelProto, folder: Path) -> Case:
    onnx.save(model, folder / "network.onnx")
    np.save(folder / "calibration.npy", pictures(8, seed=2))
    np.save(folder / "images.npy", pictures(IMAGES))
    np.save(folder / "labels.npy", np.arange(IMAGES) % CLASSES)
    return Case(folder)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of(classifier(), tmp_path_factory.mktemp("classifier"))


# -- what it finds ----------------------------------------------------------------------------------------------------


def test_scores_of_the_float_network_are_onnxruntimes(case: Case) -> None:
    session = ort.InferenceSession(classifier().SerializeToString())
    found = np.concatenate([session.run(None, {"input0": image[np.newaxis]})[0] for image in pictures(IMAGES)])
    right = float((found.argmax(axis=1) == np.arange(IMAGES) % CLASSES).mean())
    row = case.evaluate("int8").rows[0]
    assert (row.name, row.sqnr_db) == ("float32", None)
    assert {score.name: score.value for score in row.scores}["top1"] == right


@pytest.mark.parametrize(
    "model", [classifier(3), with_host_between("batch"), with_host_between(4)], ids=["classifier", "host", "host of 4"]
)
def test_a_config_has_the_figures_of_its_build(model: onnx.ModelProto, tmp_path: Path) -> None:
    """The build runs on stored maps, the evaluation on real ones; what fills a batch up counts in neither."""
    case = case_of(model, tmp_path)
    row = case.evaluate("int4", data=DataSet(tmp_path / "images.npy")).rows[1]
    compile_model(case.model, load_config("int4"), tmp_path / "build", tmp_path / "calibration.npy")
    verified = verify(tmp_path / "build", tmp_path / "images.npy", count=None).outputs
    noise = np.mean([10 ** (-(output.sqnr_db or 0) / 10) for output in verified])
    assert row.sqnr_db == pytest.approx(-10 * np.log10(noise), abs=1e-9)
    assert {score.name: score.value for score in row.scores}["top1_agreement"] == verified[0].top1_agreement


def test_the_published_arithmetic_is_a_row_like_any_other(case: Case) -> None:
    rows = case.evaluate("int8", "published").rows
    assert [row.name for row in rows] == ["float32", "int8", "published"]
    assert rows[1].sqnr_db is not None
    assert rows[2].sqnr_db is not None
    assert 10 < rows[2].sqnr_db < rows[1].sqnr_db


def test_weights_are_counted_in_bits_with_their_exponents(case: Case) -> None:
    """3 channels of 3x3, then 32 channels; a row of blocks is filled up only where it is stored.

    Both layers are ends of the network, whose weights have 12 bits in int8.
    """
    dense, folded = 32 * CLASSES, 32 * 27
    rows = {row.name: row for row in case.evaluate("int8", "published").rows}
    weights = rows["float32"].weight_megabytes * 8e6 / 32
    assert weights >= dense + folded
    assert rows["float32"].bits_per_weight == 32
    assert 12 + 3 / 8 < rows["int8"].bits_per_weight < 12.5
    assert rows["published"].bits_per_weight == pytest.approx(4 + 5 / 32)
    assert rows["int8"].weight_megabytes == pytest.approx(weights * rows["int8"].bits_per_weight / 8e6)


def test_outputs_that_are_no_signals_have_no_sqnr(tmp_path: Path) -> None:
    row = case_of(ends_in_indices(), tmp_path).evaluate("int8", data=DataSet(tmp_path / "images.npy")).rows[1]
    assert row.sqnr_db is None


# -- however it is divided --------------------------------------------------------------------------------------------


def test_processes_and_a_cluster_find_the_same(case: Case, cluster: str) -> None:
    expected = case.evaluate("int8", "int4")
    with open_engine(processes=2) as processes, open_engine(cluster) as workers:
        assert case.evaluate("int8", "int4", engine=processes) == expected
        assert case.evaluate("int8", "int4", engine=workers) == expected


@pytest.mark.parametrize("job_images", [1, 4, 100])
def test_jobs_of_any_size_find_the_same(case: Case, job_images: int) -> None:
    task = case.task()
    with open_engine(processes=1) as engine:
        assert run_task(engine, task, silent, job_images) == run_task(engine, task, silent)


@dataclass(frozen=True)
class Counted:
    """Inputs that note what is taken of them."""

    inputs: Inputs
    taken: list[list[int]] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        return self.inputs.names

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.inputs.warnings

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Sequence[int]) -> dict[str, Array]:
        self.taken.append(list(indices))
        return self.inputs.take(indices)


def test_images_are_read_once_and_no_more_than_run_at_a_time(tmp_path: Path) -> None:
    task = case_of(classifier(4), tmp_path).task()
    counted = Counted(task.inputs)
    with open_engine(processes=1) as engine:
        assert len(run_task(engine, replace(task, inputs=counted), silent)) == 3
    assert counted.taken == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 10]]


def test_no_more_images_than_wanted_are_evaluated(case: Case) -> None:
    found = case.evaluate("int8", data=case.data(count=5))
    assert found.images == 5
    assert {score.images for row in found.rows for score in row.scores} == {5}


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_section_that_one_config_gives_holds_for_all() -> None:
    own = Config(preprocessing=Preprocessing(divide=2.0))
    shared = with_shared_sections({"own": own, "int8": load_config("int8")}, "module:function")
    assert [config.preprocessing.divide for config in shared.values()] == [2.0, 2.0]
    assert [config.measure.metric for config in shared.values()] == ["module:function"] * 2


def test_configs_that_differ_in_the_preprocessing_are_refused() -> None:
    configs = {name: Config(preprocessing=Preprocessing(divide=divide)) for name, divide in (("a", 1.0), ("b", 2.0))}
    with pytest.raises(ConfigError, match="a, b differ in preprocessing"):
        with_shared_sections(configs, None)


def test_formats_that_are_not_chosen_yet_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"not chosen yet\n.*mine"):
        with_shared_sections({"mine": Config(precision="auto")}, None)


def test_an_image_that_does_not_fit_is_named_whichever_process_reads_it(case: Case, tmp_path: Path) -> None:
    images = pictures(IMAGES)
    images[9] = np.nan
    np.save(tmp_path / "bad.npy", images)
    with open_engine(processes=2) as engine, pytest.raises(DataError, match="NaN") as error:
        case.evaluate("int8", engine=engine, data=DataSet(tmp_path / "bad.npy"))
    assert "bad.npy" in error.value.where


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_shows_a_table_or_json(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    data = ["--inputs", str(case.folder / "images.npy"), "--labels", str(case.folder / "labels.npy")]
    arguments = ["evaluate", str(case.model), "-c", "int8", "-c", "int4", *data, "--processes", "1"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    for text in ("SQNR dB", "top1_agreement", "bits per weight", "float32", "int4", "11 images"):
        assert text in shown.output
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert [row["name"] for row in found["rows"]] == ["float32", "int8", "int4"]
    assert found["images"] == IMAGES
