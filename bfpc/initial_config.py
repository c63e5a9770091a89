"""`bfpc init`: a config for one network, with comments, to begin with.

What follows from the network is set: overrides by the names of its layers, the kind of measure. What does not is set to
what is usual and marked as assumed, above all the preprocessing. Everything else is commented out with its default.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from glob import escape
from pathlib import Path
from typing import Any

import yaml

from bfpc.config import Config, load_config
from bfpc.config_architecture import ArchitectureConfig
from bfpc.config_file import preset_names
from bfpc.config_schema import schema_text
from bfpc.config_sections import Passes, Section, Training
from bfpc.data import InputSpec
from bfpc.errors import BuildError
from bfpc.frontend.reader import Network, read_model
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Depthwise, Layer
from bfpc.measures.choose import fitting_kinds
from bfpc.output_file import check_writable, write_file
from bfpc.passes.assign_formats import find_positions
from bfpc.pipeline import Dump, float_passes, run_passes
from bfpc.runtime.signature import Signature, input_specs, read_signature

SCHEMA = "bfpc.schema.json"  # beside the config
SHOWN_NODES = 3
WIDTH = 120
NORMALIZING = ("Sub", "Add", "Mul", "Div", "BatchNormalization")
IMAGENET_MEAN, IMAGENET_STD = "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"  # of torchvision's networks


@dataclass(frozen=True)
class Started:
    """The files that were written, and what the network is: how many layers, and which nodes the host computes."""

    file: Path
    schema: Path
    network: str
    layers: int
    host: tuple[str, ...]
    assumed: tuple[str, ...]

    def to_json(self) -> str:
        """The object that `bfpc init --json` prints; its keys are the fields."""
        return json.dumps({**asdict(self), "file": str(self.file), "schema": str(self.schema)}, indent=2)


@dataclass(frozen=True)
class _Subject:
    """A network, its layers as the config's array runs them, and what it takes and gives."""

    model: Path
    source: str
    config: Config
    network: Network
    graph: Graph
    signature: Signature
    specs: list[InputSpec]


def write_initial_config(model: Path, output: Path, source: str = "int8", *, force: bool = False) -> Started:
    """Writes a config for an ONNX file that extends the preset or file `source`, and the schema beside it.

    Raises BuildError where `output` exists, unless `force`d, and ModelError where the network cannot be read.
    """
    check_writable(output, [model, Path(source)])
    if output.exists() and not force:
        raise BuildError("the config exists already", where=str(output), fix="give --force, or another file with -o")
    subject = _read(model, source)
    text = "".join(f"{line}\n".replace(" \n", "\n") for line in _lines(subject, output))
    schema = output.with_name(SCHEMA)
    write_file(schema, schema_text().encode())
    write_file(output, text.encode())
    layers = sum(isinstance(node.op, Layer) for node in subject.graph.nodes)
    return Started(output, schema, model.stem, layers, tuple(_host(subject.network)), tuple(_assumed(subject)))


def _read(model: Path, source: str) -> _Subject:
    config = load_config(source)
    network = read_model(model)
    signature = read_signature(network.model, network.graph)
    graph = run_passes(network.graph, float_passes(config), Dump(None))
    return _Subject(model, source, config, network, graph, signature, input_specs(signature, network.graph))


def _lines(subject: _Subject, output: Path) -> Iterator[str]:
    for section in (_head, _preprocessing, _formats, _passes, _measure, _verify, _choosing, _training, _architecture):
        yield from section(subject, output)
        yield ""


def _head(subject: _Subject, output: Path) -> Iterator[str]:
    yield f"# yaml-language-server: $schema={SCHEMA}"
    yield f"# How bfpc compiles {subject.model.name}; written by bfpc init. What is commented out would be so anyway,"
    yield "# or is an example."
    yield "#"
    yield f"#     bfpc compile {subject.model.name} -c {output.name} --calibration pictures/"
    yield "#"
    yield from (f"# input   {info}" for info in subject.signature.inputs)
    yield from (f"# output  {info}" for info in subject.signature.outputs)
    layers = sum(isinstance(node.op, Layer) for node in subject.graph.nodes)
    yield f"# {layers} layers run on the accelerator; on the host{':' if subject.network.host else ' nothing.'}"
    yield from (f"#   {line}" for line in _host(subject.network))
    yield ""
    others = ", ".join(name for name in preset_names() if name != subject.source)
    yield f"{_flow(extends=_extended(subject.source, output))}  # the formats of most layers; other presets: {others}"


def _extended(source: str, output: Path) -> str:
    return source if source.removesuffix(".yaml") in preset_names() else os.path.relpath(source, output.parent)


def _host(network: Network) -> Iterator[str]:
    """For each operator of the host, and each reason: how many nodes, which, and why."""
    groups: dict[tuple[str, str], list[str]] = {}
    for node in (node for segment in network.host for node in segment.nodes):
        groups.setdefault((node.operator, node.reason), []).append(node.name)
    for (operator, reason), names in groups.items():
        more = f" and {len(names) - SHOWN_NODES} more" if len(names) > SHOWN_NODES else ""
        yield f"{operator} ({', '.join(names[:SHOWN_NODES])}{more}): {reason}"


# -- preprocessing ----------------------------------------------------------------------------------------------------


def _preprocessing(subject: _Subject, output: Path) -> Iterator[str]:
    spec = _picture(subject)
    if spec is None:
        names = ", ".join(spec.name for spec in subject.specs)
        yield f"# No preprocessing, since the network takes no pictures: data is a .npz with the keys {names}."
        return
    assert spec.map_shape is not None
    channels, height, width = spec.map_shape
    yield "# From a picture to the input. ASSUMED, since the model does not say it: compare with how it was trained."
    yield "preprocessing:"
    yield "  # resize: null  # length of the shorter side, of which the middle is cut out; null: just enough for that"
    yield f"  # crop: [{height}, {width}]  # [height, width], as the network takes them"
    if channels == 3:
        yield "  channels: RGB  # or BGR"
    yield f"  divide: {_divisor(spec)}  # pixels are 0 to 255"
    often = (f"; often {IMAGENET_MEAN}", f"; often {IMAGENET_STD}") if channels == 3 else ("", "")
    yield f"  mean: {[0.0] * channels}  # subtracted after that{often[0]}"
    yield f"  std: {[1.0] * channels}  # divided by in the end{often[1]}"
    if operators := _first_operators(subject):
        yield f"  # The network itself begins with {', '.join(operators)}: it may take pixels as they are (divide: 1)."


def _assumed(subject: _Subject) -> Iterator[str]:
    """The keys that were set without knowing."""
    spec = _picture(subject)
    if spec is not None and spec.map_shape is not None:
        keys = ("channels", "divide", "mean", "std")
        yield from (f"preprocessing.{key}" for key in keys if key != "channels" or spec.map_shape[0] == 3)


def _picture(subject: _Subject) -> InputSpec | None:
    """The input that takes pictures, where it is the only one."""
    return subject.specs[0] if len(subject.specs) == 1 and subject.specs[0].map_shape else None


def _divisor(spec: InputSpec) -> int:
    """Integers take pixels as they are; else 0 to 1 is usual."""
    return 1 if spec.dtype.kind in "iu" else 255


def _first_operators(subject: _Subject) -> list[str]:
    """The operators that shift or scale the input, before any other."""
    graph, name = subject.network.model.graph, subject.specs[0].name
    found: list[str] = []
    while True:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1 or readers[0].op_type not in NORMALIZING:
            return found
        found.append(readers[0].op_type)
        name = readers[0].output[0]


# -- formats ----------------------------------------------------------------------------------------------------------


def _formats(subject: _Subject, output: Path) -> Iterator[str]:
    yield "# The formats of single layers, by name (* and ? stand for any characters); the last that matches wins."
    overrides = list(_overrides(subject))
    if not overrides:
        yield "# overrides:"
        yield '#   - {name: "...", weight: {mantissa_bits: 8}}'
        return
    yield f"# These are as {subject.source} has them:"
    yield "overrides:"
    for override, why in overrides:
        yield f"  - {{{_flow(**override)}}}  # {why}"


def _overrides(subject: _Subject) -> Iterator[tuple[dict[str, Any], str]]:
    """What the config gives to single layers by kind or position, by their names, and why they have it."""
    config, graph = subject.config, subject.graph
    depthwise = config.formats.depthwise_weight
    if any(getattr(depthwise, key) != getattr(config.formats.weight, key) for key in type(depthwise).model_fields):
        for node in graph.nodes:
            if isinstance(node.op, Depthwise):
                yield {"name": escape(node.name), "weight": depthwise.model_dump()}, "depthwise"
    for override in config.overrides:
        if override.name is None:
            change = override.model_dump(include={"activation", "weight"})
            for node in graph.nodes:
                if override.matches(node.name, type(node.op).__name__, find_positions(graph, node)):
                    yield {"name": escape(node.name), **change}, override.selectors()


# -- the other sections -----------------------------------------------------------------------------------------------


def _passes(subject: _Subject, output: Path) -> Iterator[str]:
    yield "# Calibration images used, and what makes up for the loss of quantization."
    yield f"# calibration: {{images: {subject.config.calibration.images}}}"
    yield from _defaults("passes", subject.config.passes, Passes)


def _measure(subject: _Subject, output: Path) -> Iterator[str]:
    kinds = fitting_kinds(subject.signature)
    yield "# What bfpc verify and bfpc evaluate measure, beside the noise."
    kind = next(iter(kinds), "auto")
    if kind == "classification":
        yield f"measure: {{{_flow(kind=kind, output=kinds[kind])}}}  # [images, classes]: it holds class scores"
    elif kind == "detection":
        yield "# How are boxes coded? See detection in docs/config.md"
        yield f"# measure: {{kind: detection, detection: {{{_flow(boxes=kinds[kind])}, coding: corners}}}}"
    elif kind == "segmentation":
        yield f"# measure: {{{_flow(kind=kind, output=kinds[kind])}}}  # or kind: picture"
    else:
        yield "# measure: {kind: auto}  # or classification, detection, segmentation, picture"


def _verify(subject: _Subject, output: Path) -> Iterator[str]:
    agreement = ", min_top1_agreement: 0.95" if "classification" in fitting_kinds(subject.signature) else ""
    yield "# What bfpc verify demands; nothing if it is left out."
    yield f"# verify: {{min_sqnr_db: 20{agreement}}}"


def _choosing(subject: _Subject, output: Path) -> Iterator[str]:
    classes = "classification" in fitting_kinds(subject.signature)
    accuracy = "accuracy: top1_agreement, at_least: 0.98" if classes else "accuracy: sqnr_db, at_least: 30"
    yield "# For bfpc search, which chooses formats; cost is weight_bits, dram_bytes, cycles or area."
    yield "# precision: auto"
    yield f"# budget: {{{accuracy}, cost: weight_bits}}"


def _training(subject: _Subject, output: Path) -> Iterator[str]:
    yield "# For bfpc retrain."
    yield from _defaults("training", subject.config.training, Training)


def _architecture(subject: _Subject, output: Path) -> Iterator[str]:
    array = subject.config.array_size
    yield "# The accelerator. On auto it is sized to the network and its formats: here to an array of"
    yield f"# {array.c_vec} lanes x {array.k_vec} processing elements. bfpc explore chooses one for an FPGA."
    yield from _defaults("architecture", subject.config.architecture, ArchitectureConfig)


def _defaults(name: str, section: Section, model: type[Section]) -> Iterator[str]:
    """A section that is commented out: every key with its value, what it is, and what it may hold if that is short."""
    yield f"# {name}:"
    for key, field in model.model_fields.items():
        line = f"#   {_flow(**{key: getattr(section, key)})}  # {field.title}"
        full = f"{line}: {field.description}"
        yield full if len(full) <= WIDTH else line


def _flow(**mapping: Any) -> str:
    """A mapping as YAML on one line, without braces."""
    plain: Mapping[str, Any] = json.loads(json.dumps(mapping))
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.strip()[1:-1]
