"""How busy the array is and what it waits for, by simulation of the schedule.

Formats and shapes are what matters: networks are quantized without passes, after one picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from benchmarks.builds import TRAINED, available, calibration_pictures, model
from benchmarks.figures import Figure
from benchmarks.networks import NETWORKS
from bfpc.backend.architecture import size_architecture
from bfpc.backend.schedule import Schedule, make_schedule
from bfpc.backend.weight_image import pack_weights
from bfpc.config import Config, load_config
from bfpc.pipeline import prepare_network, quantize_network

TITLE = "Schedule: full-size networks, 64 lanes x 32 processing elements, 300 MHz, 19.2 GB/s, simulated"
ARRAY = {
    "c_vec": 64,
    "k_vec": 32,
    "feature_depth": 8192,
    "accumulator_positions": 4096,
    "clock_mhz": 300.0,
    "dram_gigabytes_per_second": 19.2,
}
SMALL = ("mobilenetv2", "efficientnet_lite0")
PRESETS = ("int54", "int8")
UTILIZATION = {"resnet50": 90, "unet": 95, "ssd300": 95, **dict.fromkeys(SMALL, 60)}  # % of the array, at int54
TRAFFIC = {"resnet50": 25}  # MB an image, at int54


def measure() -> Iterator[Figure]:
    for name in (*NETWORKS, *(name for name in SMALL if name in available())):
        for preset in PRESETS:
            schedule = make(name, load_config(preset))
            what, used = f"{name} {preset}", 100 * schedule.utilization
            used_bar, moved_bar = (UTILIZATION.get(name), TRAFFIC.get(name)) if preset == "int54" else (None, None)
            yield Figure(f"{what}, utilization", used, "% of the array", used_bar, more_is_better=True)
            yield Figure(f"{what}, DRAM traffic", schedule.dram_bytes / 1e6, "MB an image", moved_bar)
            without = make(name, load_config(preset), {"weight_kilobytes": 0}).dram_bytes / 1e6
            yield Figure(f"{what}, DRAM traffic, no weights kept on chip", without, "MB an image")
            yield Figure(f"{what}, cycles", schedule.cycles / 1e6, "million an image")
            for cause, cycles in list(schedule.simulation.stalls.items())[:2]:
                yield Figure(f"{what}, array waits for {cause}", 100 * cycles / schedule.cycles, "% of the cycles")


def make(name: str, config: Config, changes: Mapping[str, float] = MappingProxyType({})) -> Schedule:
    """The schedule of a network on the array of all figures, with changes of the `architecture:`."""
    settings = {
        "architecture": config.architecture.model_copy(update={**ARRAY, **changes}),
        "calibration": config.calibration.model_copy(update={"images": 1}),
        "preprocessing": TRAINED[name].preprocessing if name in TRAINED else config.preprocessing,
    }
    config = config.without_passes().model_copy(update=settings)
    graph = quantize_network(prepare_network(model(name), config, calibration_pictures(name)), config)
    architecture = size_architecture(graph, config.architecture, config.array_size)
    return make_schedule(graph, architecture, pack_weights(graph, architecture))
