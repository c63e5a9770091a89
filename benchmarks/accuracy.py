"""Trained networks without retraining: agreement with float32 on pictures that did not calibrate."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.builds import CALIBRATION_IMAGES, TRAINED, available, compared_pictures, trained_build
from benchmarks.figures import Figure
from bfpc.verify import verify

TITLE = (
    f"Accuracy: calibrated on {CALIBRATION_IMAGES} pictures, compared on others "
    "(the 92 other photographs; for resnet20 1000 test pictures)"
)
CIFAR10_PICTURES = 1000
AGREEMENT_BARS = {("resnet20", "int8"): 99, ("efficientnet_lite0", "int8"): 95, ("mobilenetv2", "int8"): 95}


def measure() -> Iterator[Figure]:
    for name in available():
        pictures = compared_pictures(TRAINED[name], CIFAR10_PICTURES)
        for preset in ("int8", "int54", "int4"):
            found = verify(trained_build(name, preset), pictures, count=CIFAR10_PICTURES)
            scores = next(output for output in found.outputs if output.top1_agreement is not None)
            agreement, bar = 100 * (scores.top1_agreement or 0), AGREEMENT_BARS.get((name, preset))
            yield Figure(f"{name} {preset}, top-1", agreement, "% agree", bar, more_is_better=True)
            yield Figure(f"{name} {preset}, {scores.name}", scores.sqnr_db, "dB SQNR")
