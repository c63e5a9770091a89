"""stream-maps: a dense layer hands its map to the depthwise layer behind it, if nothing else needs that map."""

from functools import partial

import pytest

from bfpc.ir.graph import Node
from bfpc.passes.stream_maps import stream_maps
from tests.passes.checks import check_text

STREAM = partial(stream_maps, window=3, fits=lambda node, behind: True)
DENSE = "Conv(x=%x, weight=@w) {kernel=(1, 1)} : 8x6x6"
FILTER = "Depthwise(x=%a, weight=@v) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x6x6"
BOUNDED = "Conv(x=%x, weight=@w, bias=@b) {kernel=(1, 1), tail=Tail(activation=Clip(high=6.0))} : 8x6x6"


def network(dense: str, behind: str, *more: str) -> str:
    """%a is made by `dense`, and read by `behind`. more: nodes and outputs that follow, as text."""
    nodes = [line for line in more if not line.startswith("output")]
    outputs = [line for line in more if line.startswith("output")] or ['output "y" = %y (N, C, H, W)']
    lines = ['input "x" = %x (N, C, H, W) : 4x6x6', f"%a = {dense}", f"%y = {behind}", *nodes, *outputs]
    constants = {"b": "8", "d": "8x8x1x1", "f": "8x1x5x5", "s": "8", "u": "4x1x3x3", "v": "8x1x3x3", "w": "8x4x1x1"}
    text = "\n".join(lines)
    used = (f"constant @{name} : {shape} [float32]" for name, shape in constants.items() if f"@{name}" in text)
    return "".join(f"    {line}\n" for line in (*lines, *used))


def streaming(dense: str) -> str:
    """The layer as it streams its map."""
    return dense.replace("} :", ", streams=True} :")


@pytest.mark.parametrize("dense", [DENSE, BOUNDED])
@pytest.mark.parametrize(
    "behind",
    [
        FILTER,
        "Depthwise(x=%a, weight=@v) {kernel=(3, 3), stride=(2, 2)} : 8x2x2",
        "Depthwise(x=%a, weight=@v, slope=@s) {kernel=(3, 3), tail=Tail(activation=PRelu())} : 8x4x4",
        "Pass(x=%a) {tail=Tail(pool=Window(kind='average', kernel=(6, 6), stride=(6, 6)))} : 8x1x1",
    ],
    ids=["padded", "strided", "with a slope", "a pool"],
)
def test_a_map_that_only_the_next_layer_reads_streams(dense: str, behind: str) -> None:
    check_text(network(dense, behind), network(streaming(dense), behind), STREAM)


@pytest.mark.parametrize(
    "text",
    {
        "another layer reads it": network(
            DENSE, FILTER, "%z = Pass(x=%a) : 8x6x6", 'output "y" = %y (N, C, H, W)', 'output "z" = %z (N, C, H, W)'
        ),
        "it is an output": network(DENSE, FILTER, 'output "a" = %a (N, C, H, W)', 'output "y" = %y (N, C, H, W)'),
        "a residual joins it": network("Conv(x=%x, weight=@w, residual=%r) {kernel=(1, 1)} : 8x6x6", FILTER).replace(
            "%x (N, C, H, W) : 4x6x6\n", '%x (N, C, H, W) : 4x6x6\n    input "r" = %r (N, C, H, W) : 8x6x6\n'
        ),
        "it is the filter's residual, too": network(DENSE, FILTER.replace("=@v)", "=@v, residual=%a)")),
        "it is pooled": network(
            "Conv(x=%x, weight=@w) {kernel=(1, 1), "
            "tail=Tail(pool=Window(kind='max', kernel=(3, 3), pads=(1, 1, 1, 1)))} : 8x6x6",
            FILTER,
        ),
        "a slope bends it": network(
            "Conv(x=%x, weight=@w, slope=@s) {kernel=(1, 1), tail=Tail(activation=PRelu())} : 8x6x6", FILTER
        ),
        "what is behind pools": network(
            DENSE,
            "Depthwise(x=%a, weight=@v) {kernel=(3, 3), pads=(1, 1, 1, 1), "
            "tail=Tail(pool=Window(kind='max', kernel=(2, 2), stride=(2, 2)))} : 8x3x3",
        ),
        "the filter is larger than the window": network(
            DENSE, "Depthwise(x=%a, weight=@f) {kernel=(5, 5), pads=(2, 2, 2, 2)} : 8x6x6"
        ),
        "the filter has holes": network(
            DENSE, "Depthwise(x=%a, weight=@v) {kernel=(3, 3), pads=(2, 2, 2, 2), dilation=(2, 2)} : 8x6x6"
        ),
        "the filter sees edges": network(
            DENSE, "Depthwise(x=%a, weight=@v) {kernel=(3, 3), pads=(1, 1, 1, 1), pad_mode='edge'} : 8x6x6"
        ),
        "a window lies beyond the map": network(
            DENSE, "Depthwise(x=%a, weight=@v) {kernel=(3, 3), pads=(-3, 0, 3, 0)} : 8x4x4"
        ),
        "what is behind is dense": network(DENSE, "Conv(x=%a, weight=@d) {kernel=(1, 1)} : 8x6x6"),
        "what is behind takes other positions": network(DENSE, "Pass(x=%a) {stride=(2, 2)} : 8x3x3"),
        "it is made of a map without weights": network(
            "Pass(x=%x) : 4x6x6", "Depthwise(x=%a, weight=@u) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 4x6x6"
        ),
        "another layer runs between": network(
            DENSE,
            "Pass(x=%x) : 4x6x6",
            "%z = Depthwise(x=%a, weight=@v) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x6x6",
            'output "y" = %y (N, C, H, W)',
            'output "z" = %z (N, C, H, W)',
        ),
        "the host's part is between": network(
            DENSE, "Depthwise(x=%a, weight=@v, residual=%h) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x6x6"
        ).replace("4x6x6\n", '4x6x6\n    input "h" = %h (N, C, H, W) : 8x6x6 stage(1)\n', 1),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_map_is_stored_where(text: tuple[str, str]) -> None:
    check_text(text[1], text[1], STREAM)


def test_two_maps_of_a_chain_do_not_both_stream() -> None:
    """Two layers run together, no more: the map of a depthwise layer is stored."""
    second = FILTER.replace("%a", "%y")
    before = network(DENSE, FILTER, f"%z = {second}", 'output "z" = %z (N, C, H, W)')
    check_text(before, before.replace(DENSE, streaming(DENSE)), STREAM)


def test_a_map_of_which_the_buffers_hold_too_little_is_stored() -> None:
    asked = []

    def fits(node: Node, behind: Node) -> bool:
        asked.append((node.name, behind.name))
        return False

    text = network(DENSE, FILTER)
    check_text(text, text, partial(stream_maps, window=3, fits=fits))
    assert asked == [("a", "y")]
    check_text(network(streaming(DENSE), FILTER), text, partial(stream_maps, window=3, fits=fits))
