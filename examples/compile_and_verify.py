"""Compiles a network, and verifies the build: against onnxruntime, and against its own C++ in every bit.

python examples/compile_and_verify.py model.onnx pictures.npy
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from bfpc.config import load_config
from bfpc.pipeline import compile_model
from bfpc.progress_bars import progress_bars
from bfpc.report.page import report_files
from bfpc.verify import verify


def main(model: Path, pictures: Path) -> None:
    build = Path("build")
    with progress_bars() as progress:  # or leave progress out
        report = partial(report_files, calibration=pictures)  # build/report.html
        compiled = compile_model(model, load_config("int8"), build, pictures, progress=progress, describe=report)
        found = verify(build, pictures, csim=True, progress=progress)
    print(*compiled.warnings, sep="\n")

    for layer in found.layers:
        print(f"{layer.name}: {layer.sqnr_db:.1f} dB")
    for output in found.outputs:
        print(f"output {output.name}: {output.sqnr_db:.1f} dB, the same class in {output.top1_agreement:.0%}")
    print("the C++ gives the same bits" if found.bit_exact else "the C++ differs")
    print("passed" if found.passed else found.failures)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
