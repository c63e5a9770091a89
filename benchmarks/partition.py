"""How often a network goes to the host, and what crosses."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.builds import all_networks, build
from benchmarks.figures import Figure

TITLE = "Partition: segments on the host, and their nodes"


def measure() -> Iterator[Figure]:
    for name in all_networks():
        manifest = json.loads((build(name, "int54") / "manifest.json").read_text())
        nodes = [f"{node['operator']}" for segment in manifest["host"] for node in segment["nodes"]]
        operators = ", ".join(dict.fromkeys(nodes)) or "none"
        yield Figure(f"{name}: {operators}", len(manifest["host"]), f"segments, {len(manifest['stages'])} stages")
