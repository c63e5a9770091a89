"""The check of a config as a whole: quantized with all passes that it has on, run by the bit-exact emulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bfpc.comparison import MAX_DB
from bfpc.config import Config
from bfpc.config_search import Budget
from bfpc.data import Inputs, open_inputs
from bfpc.errors import ConfigError
from bfpc.evaluation.task import Candidate, Found, Task, output_noises, output_sqnr_db, run_task
from bfpc.ir.graph import Graph
from bfpc.jobs import Engine
from bfpc.labels import Labels, load_labels
from bfpc.measures.choose import choose_measures
from bfpc.measures.hook import hook_file
from bfpc.measures.measure import Measure
from bfpc.pipeline import Prepared
from bfpc.progress import silent
from bfpc.runtime.signature import Signature, input_specs, read_signature

SQNR = "sqnr_db"


@dataclass(frozen=True)
class Accuracy:
    """value: what the budget names. noises: what each batch of images adds to the noise of the network's outputs,
    relative to the signal of all; empty without signals.
    """

    value: float
    noises: tuple[float, ...]


@dataclass(frozen=True)
class Check:
    """Measures networks on the same images.

    measures: none where the accuracy is the SQNR. name: of the score that is the accuracy.
    """

    model: bytes
    where: str
    signature: Signature
    inputs: Inputs
    labels: Labels | None
    measures: tuple[Measure, ...]
    name: str

    def __call__(self, engine: Engine, prepared: Prepared, config: Config, graph: Graph) -> Accuracy:
        """graph: what `config` makes of the network. Raises ConfigError where the network has no such score."""
        candidate = Candidate(graph, prepared.network.host, config)
        task = Task(self.model, self.where, self.signature, self.inputs, self.labels, self.measures, (candidate,))
        found = [batch[1] for batch in run_task(engine, task, silent)]
        value = output_sqnr_db(found) if self.name == SQNR else self._score(found)
        if value is None:
            fix = "budget a score that bfpc evaluate prints, or a function as module:name"
            raise ConfigError("no output of the network is a signal", where="budget.accuracy", fix=fix)
        return Accuracy(value, output_noises(found))

    def _score(self, found: list[Found]) -> float:
        scores: dict[str, float] = {}
        for index, measure in enumerate(self.measures):
            items = [item for batch in found for item in batch.items[index]]
            scores |= {score.name: score.value for score in measure.summarize(items)}
        if self.name not in scores:
            known = ", ".join((SQNR, *scores, "or a function as module:name"))
            raise ConfigError(f"no score is called {self.name}", where="budget.accuracy", fix=f"give {known}")
        return scores[self.name]


def make_check(
    model: Path,
    prepared: Prepared,
    config: Config,
    budget: Budget,
    images: Path | None,
    labels: Path | None,
    limit: int | None = None,
) -> Check:
    """images: as in `compile_model`, at most `limit` of them; labels: as `load_labels` takes them.

    Raises a BfpcError where images, labels or the budget's accuracy do not fit the network.
    """
    network = prepared.network
    signature = read_signature(network.model, network.graph)
    specs = input_specs(signature, network.graph)
    inputs = open_inputs(images, specs, config.preprocessing, limit)
    truth = None if labels is None else load_labels(labels, inputs.names)
    function = budget.accuracy if ":" in budget.accuracy else None
    measured = config.model_copy(update={"measure": config.measure.model_copy(update={"metric": function})})
    measures = () if budget.accuracy == SQNR else choose_measures(measured, signature, truth)
    onnx = network.model.SerializeToString(deterministic=True)
    name = budget.accuracy.rpartition(":")[2]
    return Check(onnx, str(model), signature, inputs, truth, measures, name)


def files_behind(config: Config, budget: Budget) -> tuple[Path, ...]:
    """What the accuracy depends on beside model and data: modules of the user's functions, anchors of a detector."""
    if budget.accuracy == SQNR:
        return ()
    detector = config.measure.detection
    modules = [hook_file(name) for name in (budget.accuracy, detector.decode) if name is not None and ":" in name]
    files = (*modules, None if detector.anchors is None else Path(detector.anchors))
    return tuple(file for file in files if file is not None and file.is_file())


def noise_of(sqnr_db: float) -> float:
    """The noise relative to the signal that an SQNR stands for."""
    return float(10 ** (-min(sqnr_db, MAX_DB) / 10))
