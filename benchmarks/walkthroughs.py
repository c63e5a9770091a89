"""What docs/networks tells of each network: its size, its layers, what the host runs and why, and what an image takes.

Formats and shapes are what matters: networks are compiled without the passes that move numbers only, after one picture.

    python -m benchmarks.walkthroughs [NETWORK ...]     # writes docs/walkthroughs.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from benchmarks.builds import all_networks, compile_network, model
from benchmarks.records import write_records
from bfpc.config import Config, load_config

RECORDS = Path(__file__).parents[1] / "docs" / "walkthroughs.json"
PRESETS = ("int54", "int8")
WORD_BYTES = 8


def load_records() -> dict[str, dict[str, Any]]:
    """What was measured, by network; nothing where there is no file yet."""
    if not RECORDS.exists():
        return {}
    return {record["network"]: record for record in json.loads(RECORDS.read_text())}


def measure_network(name: str) -> dict[str, Any]:
    """A network's record: facts of the model and of its partition, and the schedule's figures by preset."""
    builds = dict(_builds(name))
    schedule, manifest = builds[PRESETS[0]]
    return {
        "network": name,
        **_model_facts(onnx.load(model(name))),
        "macs": schedule["macs"],
        "layers": dict(sorted(Counter(layer["operator"] for layer in schedule["layers"]).items())),
        "stages": len(manifest["stages"]),
        "host": [node for segment in manifest["host"] for node in segment["nodes"]],
        "figures": {preset: _figures(schedule) for preset, (schedule, _) in builds.items()},
    }


def _builds(name: str) -> Iterator[tuple[str, tuple[dict[str, Any], dict[str, Any]]]]:
    """schedule.json and manifest.json of the network, by preset."""
    for preset in PRESETS:
        with tempfile.TemporaryDirectory(prefix="bfpc-walkthrough-") as folder:
            compile_network(name, _quick(load_config(preset)), Path(folder) / "build")
            schedule, manifest = (
                json.loads((Path(folder) / "build" / f"{file}.json").read_text()) for file in ("schedule", "manifest")
            )
        yield preset, (schedule, manifest)


def _quick(config: Config) -> Config:
    return config.without_passes().model_copy(
        update={"calibration": config.calibration.model_copy(update={"images": 1})}
    )


def _model_facts(network: onnx.ModelProto) -> dict[str, Any]:
    parameters = {tensor.name for tensor in network.graph.initializer}
    return {
        "parameters": sum(numpy_helper.to_array(tensor).size for tensor in network.graph.initializer),
        "nodes": len(network.graph.node),
        "operators": dict(Counter(node.op_type for node in network.graph.node).most_common()),
        "inputs": {port.name: _shape(port) for port in network.graph.input if port.name not in parameters},
        "outputs": {port.name: _shape(port) for port in network.graph.output},
    }


def _shape(port: onnx.ValueInfoProto) -> list[int | str]:
    return [axis.dim_value or axis.dim_param or "?" for axis in port.type.tensor_type.shape.dim]


def _figures(schedule: dict[str, Any]) -> dict[str, float]:
    return {
        "weight_bytes": schedule["weights"]["bytes"],
        "bits_per_weight": round(schedule["weights"]["bits_per_weight"], 3),
        "feature_bytes": WORD_BYTES * schedule["feature_memory_words"],
        "cycles": schedule["cycles"],
        "milliseconds": round(schedule["milliseconds"], 3),
        "utilization": round(schedule["utilization"], 4),
        "dram_bytes": schedule["dram_bytes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.walkthroughs", description="Writes the records.")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="without, all that are here")
    records = load_records()
    for name in parser.parse_args().networks or all_networks():
        print(name, flush=True)
        records[name] = measure_network(name)
        write_records(RECORDS, records.values())


if __name__ == "__main__":
    main()
