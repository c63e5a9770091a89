"""The config's section on what accuracy is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from bfpc.config_sections import Section

Function = Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
_FUNCTION_TEXT = "a Python function as module:name, or null"


class Detector(Section):
    """How the outputs of a detector are read. Without `decode`, two outputs hold a box and scores for each anchor.

    `boxes` is [images, anchors, 4], `scores` [images, anchors, classes]; with `classes`, an output [images, detections]
    of class indices, `scores` is [images, detections]. `coding: corners` are left, top, right, bottom; `centers` are
    center x, center y, width, height; `order: yx` swaps x and y. `extent` is the coordinate of a picture's right and
    lower edge. `anchors` names a .npy [anchors, 4] of centers and sizes, x first, as fractions of the picture: the
    boxes are then codes relative to them, as in SSD, after division by `scales`, one of the center, one of the size.
    `background` is a class that is no object.

    Detections below `score_threshold` do not count. Of overlapping ones of a class the best stays (`nms_iou`, null
    where the network does that). Without labels, the float network's from `truth_threshold` on are the truth.
    `decode` is a function that takes all outputs by name, [images, ...] each, and returns for each image a tuple of
    classes [detections], scores [detections] and boxes [detections, (left, top, right, bottom)] as fractions.
    """

    boxes: str | None = Field(
        None, title="the output that holds boxes", description="a name of an output, or null for the one that fits"
    )
    scores: str | None = Field(
        None, title="the output that holds scores", description="a name of an output, or null for the one that fits"
    )
    classes: str | None = Field(
        None, title="the output that holds class indices", description="a name of an output, or null"
    )
    decode: Function | None = Field(
        None, title="a function of your own that reads the outputs", description=_FUNCTION_TEXT
    )
    coding: Literal["corners", "centers"] = Field(
        "corners", title="what the four numbers of a box are", description="corners or centers"
    )
    order: Literal["xy", "yx"] = Field("xy", title="whether x or y comes first", description="xy or yx")
    extent: float = Field(
        1.0, gt=0, title="coordinate of a picture's right and lower edge", description="a number above 0"
    )
    anchors: str | None = Field(
        None, title="the anchors that boxes are codes for", description="a path of a .npy, or null"
    )
    scales: Annotated[tuple[float, float], Strict(False)] = Field(
        (10.0, 5.0), title="what codes are divided by: of the center, of the size", description="a list of two numbers"
    )
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        "none", title="what turns the output into scores", description="none, sigmoid or softmax"
    )
    background: int | None = Field(
        None,
        ge=0,
        lt=1 << 31,
        title="the class that is no object",
        description="a class index that is no object, or null",
    )
    score_threshold: float = Field(
        0.05, ge=0, le=1, title="score below which detections do not count", description="a fraction from 0 to 1"
    )
    truth_threshold: float = Field(
        0.3,
        ge=0,
        le=1,
        title="score from which on the float network's detections are the truth",
        description="a fraction from 0 to 1",
    )
    nms_iou: float | None = Field(
        0.5,
        gt=0,
        le=1,
        title="overlap from which on the better one of two boxes stays",
        description="a fraction above 0, or null",
    )
    max_detections: int = Field(
        100,
        ge=1,
        le=1 << 20,
        title="detections of an image, at most",
        description="a whole number from 1 to 2**20",
    )


class Measuring(Section):
    """What accuracy is: what the network's outputs are, for scores against labels and against the float network.

    On `auto`, labels that are classes or boxes tell the kind; without labels, an output of class scores does; `metric`
    stands alone. `output` is what is measured, `threshold` where a mask of one channel begins, `peak` the value of a
    white pixel. `metric` is a function of your own: it takes the build's outputs by name, [images, ...] each, the float
    network's, and the images' labels or None, and returns one number for each image, the higher the better.
    """

    kind: Literal["auto", "classification", "detection", "segmentation", "picture"] = Field(
        "auto", title="what the outputs are", description="auto, classification, detection, segmentation or picture"
    )
    output: str | None = Field(
        None, title="the output that is measured", description="a name of an output, or null for the first that fits"
    )
    threshold: float = Field(0.5, title="value from which on a mask of one channel is set", description="a number")
    peak: float = Field(1.0, gt=0, title="value of a white pixel", description="a number above 0")
    metric: Function | None = Field(None, title="a measure of your own", description=_FUNCTION_TEXT)
    detection: Detector = Detector()
