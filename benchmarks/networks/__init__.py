"""Full-size networks with drawn weights, for size, speed and resources where no trained ones are free.

Weights are drawn from fixed seeds, of a size that keeps the scale of activations at any depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from benchmarks.networks.resnet50 import resnet50
from benchmarks.networks.ssd300 import ssd300
from benchmarks.networks.unet import unet

NETWORKS: Mapping[str, Callable[[], onnx.ModelProto]] = {"resnet50": resnet50, "ssd300": ssd300, "unet": unet}
