"""python -m benchmarks.networks resnet50 -o resnet50.onnx"""

from __future__ import annotations

import argparse

import onnx

from benchmarks.networks import NETWORKS


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.networks", description="Writes a full-size network with drawn weights."
    )
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("-o", "--output", required=True, help="the .onnx file to write")
    arguments = parser.parse_args()
    onnx.save(NETWORKS[arguments.network](), arguments.output)


if __name__ == "__main__":
    main()
