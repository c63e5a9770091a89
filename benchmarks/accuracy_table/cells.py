"""What the table holds: for each network, formats (rows) and what is done against their noise (columns)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.builds import TRAINED
from benchmarks.plain import plain
from benchmarks.records import digest
from bfpc import __version__
from bfpc.config import Config, load_config

FLOAT = "float32"
NEAREST_FLOAT = "int12"  # what float32 is retrained in
CALIBRATION_PHOTOS, CALIBRATION_CIFAR10 = 32, 64
HALF_OF_PHOTOS = 50
CHECKS = 8  # of `bfpc search`, which by default takes more, for a little more accuracy

Column = Literal["plain", "recovery", "retraining"]
COLUMNS: dict[Column, str] = {"plain": "plain rounding", "recovery": "recovery", "retraining": "retraining"}
WHAT_IS_LEFT: dict[Column, Callable[[Config], Config]] = {
    "plain": plain,
    "recovery": lambda config: config,
    "retraining": Config.without_passes,
}


@dataclass(frozen=True)
class Row:
    """Formats. preset: that they come from; within: the row whose weight bits a choice for each layer keeps to."""

    preset: str
    columns: tuple[Column, ...]
    within: str | None = None


ROWS: dict[str, Row] = {
    FLOAT: Row(NEAREST_FLOAT, ("plain", "retraining")),
    "int8": Row("int8", ("plain", "recovery")),
    "int6": Row("int6", ("plain", "recovery")),
    "int6/5": Row("int6", ("plain", "recovery")),
    "int5": Row("int5", ("plain", "recovery")),
    "int5/4": Row("int54", ("plain", "recovery", "retraining")),
    "int4": Row("int4", ("plain", "recovery", "retraining")),
    "int4, auto": Row("int4", ("recovery",), within="int4"),
    "published": Row("published", ("plain",)),
}


@dataclass(frozen=True)
class Recipe:
    """How a network is retrained: with labels if `labelled`, else taught by the float network on calibration photos."""

    epochs: int
    training: dict[str, Any]
    labelled: bool = False


PHOTOS = {"batch": 8, "learning_rate": 1e-4, "flip": True}
LABELLED = {"learning_rate": 1e-3, "flip": True, "crop_padding": 4}


@dataclass(frozen=True)
class Network:
    """score: the one that the network is judged by, of those that `bfpc evaluate` prints; unit: of that.

    halves: every photograph is evaluated by a network that the other half calibrated: where whole pictures are right or
    wrong, more of them tell more. crops: pictures of each photograph that chosen formats are checked on, and that the
    SQNR is of; more than itself where an output says little.
    """

    title: str
    score: str
    score_title: str
    recipe: Recipe
    unit: Literal["%", "dB"] = "%"
    halves: bool = False
    crops: int = 1

    @property
    def calibration_photos(self) -> int:
        return HALF_OF_PHOTOS if self.halves else CALIBRATION_PHOTOS


NETWORKS: dict[str, Network] = {
    "resnet20": Network("ResNet-20, CIFAR-10", "top1", "top-1", Recipe(2, LABELLED, labelled=True)),
    "efficientnet_lite0": Network(
        "EfficientNet-Lite0", "top1_agreement", "top-1 agreement", Recipe(8, PHOTOS), halves=True
    ),
    "mobilenetv2": Network("MobileNetV2", "top1_agreement", "top-1 agreement", Recipe(8, PHOTOS), halves=True),
    "opennsfw": Network(
        "ResNet-50, half width",
        "top1_agreement",
        "top-1 agreement",
        Recipe(4, PHOTOS | {"learning_rate": 3e-5}),
        crops=4,
    ),
    "oid_ssd_mobilenetv2": Network("SSD, MobileNetV2", "ap_agreement", "mean average precision", Recipe(4, PHOTOS)),
    "selfie_segmentation": Network("Selfie segmentation", "iou_agreement", "IoU", Recipe(8, PHOTOS)),
    "waifu2x_cunet": Network("waifu2x", "psnr_db_agreement", "PSNR", Recipe(2, PHOTOS), "dB"),
}


@dataclass(frozen=True)
class Cell:
    """A network in a row's formats, under a column's heading."""

    network: str
    row: str
    column: Column

    def __str__(self) -> str:
        return f"{self.network}, {self.row}, {self.column}"


def all_cells() -> Iterator[Cell]:
    """Those that can be measured, in the order of the page. Float32 is its own reference where there are no labels."""
    for network, described in NETWORKS.items():
        for row, formats in ROWS.items():
            if row == FLOAT and not described.recipe.labelled:
                continue
            yield from (Cell(network, row, column) for column in formats.columns)


def cell_config(cell: Cell) -> Config:
    """The config of a cell, without what the network's accuracy is; formats yet to be chosen have no budget yet."""
    document = load_config(ROWS[cell.row].preset).model_dump(mode="json")
    if cell.row == "int6/5":
        document["formats"]["weight"]["mantissa_bits"] = 5
    if cell.column == "retraining":
        document["training"] = NETWORKS[cell.network].recipe.training
    if ROWS[cell.row].within is not None:
        widest = document["formats"]["activation"]["mantissa_bits"]
        document |= {"precision": "auto", "search": {"activation_bits": [widest], "checks": CHECKS}}
    trained = TRAINED[cell.network]
    images = CALIBRATION_CIFAR10 if trained.pictures == "cifar10" else NETWORKS[cell.network].calibration_photos
    document |= {"calibration": {"images": images}, "preprocessing": trained.preprocessing.model_dump(mode="json")}
    config = Config.model_validate(document)
    return WHAT_IS_LEFT[cell.column](config)


def config_digest(cell: Cell) -> str:
    """Another one as soon as the cell has to be measured anew, the network aside: of config, epochs, crops, version."""
    config = cell_config(cell)
    document = config.model_dump(mode="json")
    document["passes"] = [name for name, on in config.passes if on]  # one more that is off changes nothing
    epochs = NETWORKS[cell.network].recipe.epochs if cell.column == "retraining" else 0
    crops = [NETWORKS[cell.network].crops] if NETWORKS[cell.network].crops > 1 else []
    return digest(json.dumps([document, epochs, *crops, __version__], sort_keys=True).encode())
