"""The picture of a partition: a well-formed SVG that shows every box in order, and what each reads."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from bfpc.backend.design import Design, design_files, make_design
from bfpc.backend.partition_picture import Tensor, draw_partition, make_boxes
from bfpc.config import load_config
from bfpc.ir.partition import HostNode
from tests.backend.graphs import ARCHITECTURE, small_network
from tests.backend.test_build import segment

SVG = "{http://www.w3.org/2000/svg}"


def design() -> Design:
    graph = small_network()
    [image], [result, *_] = graph.inputs, graph.outputs
    host = (
        segment(
            0, ("raw",), (image.name,), HostNode("a", "Cast", "why", "what"), HostNode("b", "Resize", "why", "what")
        ),
        segment(1, (result.name,), ("best",), HostNode("c", "mine.<Sharpen & more>", "why", "what")),
    )
    return make_design(graph, ARCHITECTURE, load_config("int54"), b"", ("best",), host)


def test_the_boxes_stand_in_the_order_in_which_they_run() -> None:
    made = design()
    boxes = make_boxes(made.graph, made.schedule, made.host, made.outputs)
    assert [box.title for box in boxes] == ["host 0", "accelerator, stage 0", "host 1", "outputs"]
    assert boxes[0].reads == (Tensor("raw", (1, 4), 16),)
    assert [tensor.name for tensor in boxes[1].reads] == ["image"]
    assert boxes[3].reads == (Tensor("best", (1, 4), 16),)


def test_the_picture_shows_names_as_they_are() -> None:
    picture = design_files(design())["partition.svg"].decode()
    texts = [element.text for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]
    assert "Cast, Resize" in texts
    assert "mine.<Sharpen & more>" in texts
    assert "raw [1, 4], 16 bytes" in texts


def test_characters_that_no_picture_can_hold_are_escaped() -> None:
    made = design()
    name = "a\x01b\ufffe\tc 漢 \U0001f600"
    made = replace(made, graph=replace(made.graph, name=name))
    picture = draw_partition(made.graph, made.schedule, made.host, made.outputs)
    [title] = ElementTree.fromstring(picture).iter(f"{SVG}title")
    assert title.text == "a\\x01b\\ufffe\tc 漢 \U0001f600 between host and accelerator"


def test_equal_designs_make_equal_pictures() -> None:
    assert design_files(design())["partition.svg"] == design_files(design())["partition.svg"]
