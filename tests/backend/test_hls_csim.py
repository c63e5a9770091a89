"""The generated C++, compiled with g++, stores the same bits as the arithmetic contract asks for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bfpc.backend.architecture import Architecture
from bfpc.backend.program import Program, encode_program
from bfpc.ir.operators import Clip, Conv, Depthwise, Pads, Pass, PositionScale, PRelu, Table, Tail, Window
from bfpc.numerics.format import BfpFormat
from tests.backend.graphs import WIDEST
from tests.backend.hls_project import write_project
from tests.backend.hls_reference import (
    Integers,
    LayerCase,
    Stored,
    array_size,
    feature_words,
    layer_program,
    quantize,
    tail,
    tail_bound,
    weight_memory,
)
from tests.backend.integer_headers import ac_int_headers, ap_int_headers, with_ac_int, with_ap_int

NARROW = replace(
    WIDEST,
    c_vec=64,
    k_vec=32,
    block=16,
    activation_bits=5,
    weight_bits=4,
    feature_bits=6,
    dense_weight_bits=4,
    depthwise_window=5,
    accumulator_bits=32,
)
DIGITS = replace(WIDEST, activation_bits=4, weight_bits=3)  # wider mantissas in up to three and four digits
PACKED = replace(DIGITS, multipliers="dsps", packed_weights=3)  # of 8 processing elements: the last multiplier has two
LARGE_DIGITS = replace(WIDEST, c_vec=64, k_vec=32, block=16, activation_bits=3, weight_bits=2)
LARGE_BLOCKS = replace(WIDEST, c_vec=64, k_vec=64, block=64)
LARGE_ARRAY = replace(WIDEST, c_vec=128, k_vec=64, block=32)  # its records are longer than a beat

GCC, CLANG = "g++", f"{sys.executable} -m ziglang c++"  # a wheel that carries Clang
NATIVE, AP_INT, AC_INT = "", f"AP_INCLUDE={ap_int_headers()}", f"AC_INCLUDE={ac_int_headers()}"  # how make is told
QUICK = "-O1 -Wall -Wextra -Werror"
CHECKED = f"{QUICK} -g -fsanitize=address,undefined -fno-sanitize-recover=all"
CHECKED_BUT_SHIFTS = f"{CHECKED} -fno-sanitize=shift"  # AMD's headers extend signs by shifts that overflow

MOST_IN_TAIL = 2.0**62

Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Renders and compiles an accelerator once, and returns the folder with its `csim`."""
    built: dict[tuple[object, ...], Path] = {}

    def compile_once(architecture: Architecture, *, flags: str = QUICK, integers: str = NATIVE, cxx: str = GCC) -> Path:
        key = (architecture, flags, integers, cxx)
        if key not in built:
            folder = write_project(architecture, tmp_path_factory.mktemp("hls"))
            options = [f"CXX={cxx}", f"CXXFLAGS={flags}", *([integers] if integers else [])]
            subprocess.run(["make", "build", *options], cwd=folder, check=True, capture_output=True)
            built[key] = folder
        return built[key]

    return compile_once


def simulate(folder: Path, case: LayerCase, architecture: Architecture) -> subprocess.CompletedProcess[str]:
    """Runs one layer, its expected output given."""
    group = architecture.k_vec
    inputs = [feature_words(tensor, group) for tensor in (case.x, case.residual) if tensor is not None]
    expected = feature_words(quantize(tail(case), case.output, case.output_exponent_shift), group)
    weights = weight_memory(case, architecture)
    layer = replace(layer_program(case, architecture), output_words=expected.size)
    input_words = sum(words.size for words in inputs)
    program = Program((layer,), input_words + expected.size, weights.size, input_words, 0)
    encode_program(program).tofile(folder / "program.bin")
    weights.tofile(folder / "weights.bin")
    np.concatenate(inputs).tofile(folder / "input.bin")
    expected.tofile(folder / "expected.bin")
    files = ("program.bin", "weights.bin", "input.bin", "trace.bin", "expected.bin")
    return subprocess.run(["./csim", *files], cwd=folder, capture_output=True, text=True, check=False)


def assert_same_bits(folder: Path, case: LayerCase, architecture: Architecture) -> None:
    result = simulate(folder, case, architecture)
    assert result.returncode == 0, f"{result.stdout}{result.stderr}{case.op}"
    assert (folder / "trace.bin").read_bytes() == (folder / "expected.bin").read_bytes()


def random_stored(rng: np.random.Generator, shape: tuple[int, int, int], stored: BfpFormat) -> Stored:
    mantissas = rng.integers(stored.min_mantissa, stored.max_mantissa + 1, shape)
    blocks = -(-shape[0] // stored.block_size)
    return Stored(stored, mantissas, rng.integers(0, stored.exponent_range + 1, (blocks, *shape[1:])))


def make_case(
    op: Conv | Depthwise | Pass,
    shape: tuple[int, int, int],
    outputs: int,
    formats: tuple[BfpFormat, BfpFormat, BfpFormat],
    *,
    residual: BfpFormat | None = None,
    broadcast: bool = False,
    pad_value: int = 0,
    bias_bits: int = 12,
    tile: tuple[int, int] = (1, 1),
    window_top: int = 0,
    seed: int = 0,
) -> LayerCase:
    """A layer of random integers with `formats` of input, weights and output.

    broadcast: whether the residual is one position. window_top: octaves by which the largest output value exceeds the
    output's window.
    """
    rng = np.random.default_rng(seed)
    x, weight, output = formats
    weights, offsets = _random_weights(rng, op, shape[0], outputs, weight)
    bias = rng.integers(-(1 << bias_bits) // 2, (1 << bias_bits) // 2, outputs) if bias_bits else np.zeros(outputs, int)
    clip = (-1000, 100_000) if isinstance(op, Pass) else (0, 2**62)
    slope = rng.integers(-300, 300, outputs)
    source = random_stored(rng, shape, x)
    case = LayerCase(op, source, output, weight, weights, offsets, bias, bias_bits, slope, clip=clip, tile=tile)
    case = replace(case, pad_value=pad_value)
    if residual is not None:
        size = (1, 1) if broadcast else array_size(op, (shape[1], shape[2]))
        stored = random_stored(rng, (outputs, *size), residual)
        shifts = (0, 0) if op.tail.residual == "multiply" else (2, int(rng.integers(3)))
        case = replace(case, residual=stored, accumulator_shift=shifts[0], residual_shift=shifts[1])
    if isinstance(op.tail.activation, Table):
        case = with_table(rng, case)
    if isinstance(op.tail.activation, PositionScale):
        case = replace(case, table=rng.integers(0, 1 << 15, 4096))
    length = int(np.abs(tail(case)).max()).bit_length()
    shift = length - output.magnitude_bits - output.exponent_range - window_top
    return replace(case, output_exponent_shift=shift)


def with_table(rng: np.random.Generator, case: LayerCase) -> LayerCase:
    """The case with a table of random entries, whose ends some of what it is applied to lies beyond."""
    values = tail(replace(case, op=replace(case.op, tail=replace(case.op.tail, activation=None, pool=None))))
    low, high = int(values.min()), int(values.max())
    shift = max((high - low).bit_length() - 12, 0)
    offset = 2048 - ((low + high) // 2 >> shift) + int(rng.integers(-400, 400))
    entries = rng.integers(-(1 << 15), 1 << 15, 4096)
    return replace(case, table=entries, table_shift=shift, table_offset=offset)


def _random_weights(
    rng: np.random.Generator, op: Conv | Depthwise | Pass, inputs: int, outputs: int, weight: BfpFormat
) -> tuple[Integers, Integers]:
    blocks = -(-inputs // weight.block_size)
    dense = isinstance(op, Conv)
    shape = (outputs, inputs, *op.kernel) if dense else (outputs, *op.kernel)
    offset_shape = (outputs, blocks, *op.kernel) if dense else (outputs,)
    mantissas = rng.integers(weight.min_mantissa, weight.max_mantissa + 1, shape)
    return mantissas, rng.integers(0, weight.exponent_range + 1, offset_shape)


NETWORK_FORMATS = (BfpFormat(5, 16, 7, signed=False), BfpFormat(4, 16, 3), BfpFormat(5, 16, 7))
RELU = Tail(Clip())
TABLE = Table((("tanh",),))
ROWS, COLUMNS = PositionScale("row"), PositionScale("column")
POOLED = Tail(Clip(), Window("max", (3, 3), (2, 2), (1, 1, 1, 1)))


@pytest.mark.parametrize(
    ("op", "shape", "outputs", "tile"),
    [
        pytest.param(Conv((3, 3), pads=(1, 1, 1, 1), tail=RELU), (100, 7, 9), 70, (3, 9), id="dense"),
        pytest.param(Conv((1, 1)), (48, 2, 150), 33, (1, 64), id="tiles-of-64-columns"),
        pytest.param(Conv((3, 3), (2, 2), (1, 1, 1, 1), tail=POOLED), (16, 19, 21), 40, (2, 6), id="pooled"),
        pytest.param(Conv((1, 1), tail=POOLED), (8, 3, 260), 8, (1, 64), id="pooled-tiles"),
        pytest.param(Conv((1, 1)), (1000, 1, 1), 100, (1, 1), id="fully-connected"),
        pytest.param(Depthwise((5, 5), pads=(2, 2, 2, 2), tail=RELU), (70, 8, 8), 70, (4, 8), id="depthwise"),
        pytest.param(Depthwise((5, 5), pads=(2, 2, 2, 2), tail=RELU), (130, 1, 2), 130, (1, 2), id="depthwise-tiny"),
        pytest.param(Pass((2, 2)), (40, 5, 5), 40, (3, 3), id="pass"),
        pytest.param(Pass((1, 1), (2, 3, 1, 0), pad_mode="reflect"), (40, 5, 5), 40, (1, 8), id="reflected"),
        pytest.param(Conv((3, 3), (2, 1), (1, 2, 0, 1), pad_mode="edge"), (70, 7, 6), 40, (1, 7), id="edge"),
        pytest.param(Conv((4, 4), pads=(2, 2, 2, 2), input_dilation=(2, 2)), (70, 5, 6), 40, (3, 12), id="transposed"),
        pytest.param(Conv((2, 3), pads=(1, 2, 1, 2), input_dilation=(2, 3)), (20, 4, 5), 70, (1, 15), id="phases"),
        pytest.param(Pass(pads=(1, 2, 1, 2), input_dilation=(2, 3)), (70, 4, 4), 70, (3, 12), id="nearest"),
        pytest.param(Depthwise((4, 4), pads=(2, 2, 2, 2), input_dilation=(2, 2), pad_mode="edge"), (40, 4, 5), 40,
                     (3, 10), id="linear"),
        pytest.param(Conv((3, 3), pads=(1, 1, 1, 1), tail=Tail(TABLE)), (40, 6, 6), 70, (2, 6), id="table"),
        pytest.param(Depthwise((4, 1), pads=(2, 0, 2, 0), input_dilation=(2, 1), pad_mode="edge", tail=Tail(ROWS)),
                     (40, 4, 5), 40, (3, 5), id="row-scale"),
        pytest.param(Pass(tail=Tail(COLUMNS, Window("max", (2, 2), (1, 1)))), (40, 5, 90), 40, (1, 64),
                     id="column-scale"),
    ],
)  # fmt: skip
def test_every_kind_of_layer_agrees_in_every_bit(
    build: Build, op: Conv, shape: tuple[int, int, int], outputs: int, tile: tuple[int, int]
) -> None:
    case = make_case(op, shape, outputs, NETWORK_FORMATS, tile=tile)
    assert_same_bits(build(NARROW), case, NARROW)


@pytest.mark.parametrize("keeps_weights", [False, True])
@pytest.mark.parametrize(
    ("op", "outputs", "parts"),
    [
        pytest.param(Conv((3, 3), pads=(1, 1, 1, 1), tail=RELU), 150, 2, id="dense"),
        pytest.param(Conv((3, 3), pads=(1, 1, 1, 1), tail=POOLED), 100, 4, id="pooled"),
        pytest.param(Conv((1, 1), tail=Tail(None, residual="add")), 70, 3, id="residual"),
        pytest.param(Depthwise((3, 3), pads=(1, 1, 1, 1), tail=RELU), 70, 1, id="depthwise"),
    ],
)
def test_tiles_pass_for_each_part_of_the_channels(
    build: Build, op: Conv, outputs: int, parts: int, keeps_weights: bool
) -> None:
    residual = BfpFormat(5, 16, 7) if op.tail.residual else None
    case = make_case(op, (70, 7, 9), outputs, NETWORK_FORMATS, tile=(2, 9 if op.tail.pool is None else 5))
    case = (
        case
        if residual is None
        else make_case(op, (70, 7, 9), outputs, NETWORK_FORMATS, residual=residual, tile=(2, 9))
    )
    assert_same_bits(build(NARROW), replace(case, channel_parts=parts, keeps_weights=keeps_weights), NARROW)


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("count_padding", [False, True])
def test_windows_that_reach_into_uneven_padding_agree(build: Build, kind: str, count_padding: bool) -> None:
    pool = Window(kind, (3, 4), (2, 2), (1, 2, 2, 0), count_padding)  # type: ignore[arg-type]
    case = make_case(Conv((1, 1), tail=Tail(None, pool)), (20, 7, 9), 33, NETWORK_FORMATS, tile=(2, 4))
    assert_same_bits(build(NARROW), case, NARROW)


@pytest.mark.parametrize(
    "op",
    [
        pytest.param(Conv((1, 1), (2, 1), tail=Tail(Clip(), residual="add")), id="dense"),
        pytest.param(Conv((1, 1), tail=Tail(None, Window("average", (2, 4), (2, 4)))), id="pooled-in-order"),
        pytest.param(Depthwise((3, 3), pads=(1, 1, 1, 1), tail=RELU), id="depthwise"),
        pytest.param(Pass((1, 1), (2, 3, 1, 0), pad_mode="reflect"), id="pass"),
    ],
)
def test_a_tile_may_have_more_positions_than_accumulators_where_no_sums_wait(build: Build, op: Conv) -> None:
    few = replace(NARROW, accumulator_positions=4)
    residual = None if op.tail.pool else BfpFormat(5, 16, 7)
    case = make_case(op, (40, 12, 16), 40, NETWORK_FORMATS, residual=residual, tile=(5, 19))
    assert_same_bits(build(few, flags=CHECKED), case, few)


def test_the_reciprocal_of_an_average_is_rounded(build: Build) -> None:
    pool = Window("average", (2, 3))
    formats = (BfpFormat(12, 4, 0), BfpFormat(12, 4, 0), BfpFormat(12, 4, 0))
    case = make_case(Conv((1, 1), tail=Tail(None, pool)), (16, 9, 9), 25, formats, tile=(8, 7))
    assert_same_bits(build(WIDEST), case, WIDEST)


def test_small_integers_are_shifted_left_into_wide_mantissas(build: Build) -> None:
    formats = (BfpFormat(2, 4, 1), BfpFormat(2, 4, 0), BfpFormat(12, 8, 0))
    case = make_case(Pass(), (16, 3, 3), 16, formats, bias_bits=0, tile=(3, 3))
    assert case.output_exponent_shift <= -8
    assert_same_bits(build(WIDEST), case, WIDEST)


@pytest.mark.parametrize("window_top", [-40, -1, 0, 3])
def test_outputs_below_inside_and_above_the_window_agree(build: Build, window_top: int) -> None:
    case = make_case(Conv((1, 1)), (32, 4, 4), 32, NETWORK_FORMATS, tile=(4, 4), window_top=window_top)
    assert_same_bits(build(NARROW), case, NARROW)


def test_full_scale_mantissas_fill_a_32_bit_accumulator(build: Build) -> None:
    x, weight, output = BfpFormat(5, 16, 10, signed=False), BfpFormat(4, 16, 3), BfpFormat(5, 16, 7)
    case = make_case(Conv((3, 3)), (64, 3, 3), 32, (x, weight, output), bias_bits=0, tile=(1, 1))
    full = Stored(x, np.full_like(case.x.mantissas, 31), np.full_like(case.x.offsets, 10))
    weights = np.full_like(case.weights, -8)
    case = replace(case, x=full, weights=weights, weight_offsets=np.full_like(case.weight_offsets, 3))
    assert np.abs(tail(case)).max() >= 2**30
    assert_same_bits(build(NARROW), replace(case, output_exponent_shift=20), NARROW)


def test_blocks_of_a_whole_group_agree(build: Build) -> None:
    formats = (BfpFormat(8, 64, 7), BfpFormat(8, 64, 3), BfpFormat(12, 64, 5))
    case = make_case(Conv((2, 2)), (130, 3, 3), 70, formats, tile=(2, 2))
    assert_same_bits(build(LARGE_BLOCKS), case, LARGE_BLOCKS)


@pytest.mark.parametrize(
    ("op", "shape", "outputs", "tile"),
    [
        pytest.param(Conv((3, 3), pads=(1, 1, 1, 1), tail=RELU), (200, 5, 6), 140, (2, 6), id="dense"),
        pytest.param(Conv((1, 1), tail=POOLED), (33, 4, 150), 65, (1, 64), id="tiles-of-64-columns"),
        pytest.param(Depthwise((3, 3), pads=(1, 1, 1, 1), tail=RELU), (150, 4, 4), 150, (2, 4), id="depthwise"),
    ],
)  # fmt: skip
def test_records_longer_than_a_beat_agree(
    build: Build, op: Conv, shape: tuple[int, int, int], outputs: int, tile: tuple[int, int]
) -> None:
    formats = (BfpFormat(12, 32, 7, signed=False), BfpFormat(12, 32, 3), BfpFormat(11, 64, 7))
    case = make_case(op, shape, outputs, formats, tile=tile, residual=None if op.tail.pool else BfpFormat(12, 32, 5))
    assert_same_bits(build(LARGE_ARRAY, flags=CHECKED), case, LARGE_ARRAY)


@st.composite
def formats(draw: st.DrawFn, *, signed: bool | None = None) -> BfpFormat:
    bits = draw(st.integers(2, 12))
    sign = draw(st.booleans()) if signed is None else signed
    return BfpFormat(bits, draw(st.sampled_from([4, 8])), draw(st.sampled_from([0, 1, 3, 7])), sign)


@st.composite
def windows(draw: st.DrawFn, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int], Pads]:
    """Kernel, stride and pads that leave at least one output position, each of them inside the map."""
    kernel = draw(st.integers(1, min(3, height))), draw(st.integers(1, min(3, width)))
    stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    top, bottom = (draw(st.integers(0, kernel[0] - 1)) for _ in range(2))
    left, right = (draw(st.integers(0, kernel[1] - 1)) for _ in range(2))
    return kernel, stride, (top, left, bottom, right)


@st.composite
def tails(draw: st.DrawFn, height: int, width: int) -> Tail:
    activation = draw(st.sampled_from([None, Clip(), PRelu(), TABLE, ROWS, COLUMNS]))
    kind = draw(st.sampled_from(["none", "max", "average"]))
    residual = draw(st.sampled_from(["add", "subtract", "multiply"]))
    if kind == "none":
        return Tail(activation, residual=residual)  # type: ignore[arg-type]
    pool = Window(kind, *draw(windows(height, width)), draw(st.booleans()))  # type: ignore[arg-type]
    return Tail(activation, pool, residual)  # type: ignore[arg-type]


@st.composite
def dilated_inputs(draw: st.DrawFn, kind: type[Conv] | type[Depthwise] | type[Pass]) -> Conv | Depthwise | Pass:
    """A layer that reads a dilated map: its filter is as large as the dilation, or larger."""
    dilation = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    if kind is Pass:
        bottom, right = (draw(st.integers(0, size + 1)) for size in dilation)
        return Pass(input_dilation=dilation, pads=(dilation[0] - 1, dilation[1] - 1, bottom, right))
    kernel = tuple(size + draw(st.integers(0, 3)) for size in dilation)
    sides = tuple(draw(st.integers(-1, size)) for size in (*kernel, *kernel))
    return kind(kernel, pads=sides, input_dilation=dilation)  # type: ignore[arg-type]


@st.composite
def maps_beyond(draw: st.DrawFn, op: Conv | Depthwise | Pass, size: tuple[int, int]) -> Conv | Depthwise | Pass:
    """The same layer with another pad mode where that is allowed."""
    inside = all(pad < extent for pad, extent in zip(op.pads, size * 2, strict=True))
    reflects = ["reflect"] if op.input_dilation == (1, 1) and inside else []
    return replace(op, pad_mode=draw(st.sampled_from(["zero", "edge", *reflects])))


@st.composite
def layers(draw: st.DrawFn) -> LayerCase:
    channels = draw(st.integers(1, 8) | st.integers(1, 37))  # 8 fill half of the lanes
    shape = channels, draw(st.integers(1, 9)), draw(st.integers(1, 9))
    kernel, stride, pads = draw(windows(*shape[1:]))
    kind = draw(st.sampled_from([Conv, Depthwise, Pass]))
    if draw(st.booleans()):
        op: Conv | Depthwise | Pass = draw(dilated_inputs(kind))
    elif kind is Pass:
        crop = draw(st.booleans()) and min(shape[1:]) > 2
        op = Pass(stride, (-1, 0, 1, -1) if crop else pads)
    else:
        fits = 2 * (kernel[0] - 1) < shape[1] and 2 * (kernel[1] - 1) < shape[2]
        top, left, bottom, right = (draw(st.integers(-2, size + 1)) for size in (*kernel, *kernel))
        pads = draw(st.sampled_from([pads, (top, left, bottom, right)]))  # filters beyond the map, too
        op = kind(kernel, stride, pads, (2, 2) if fits and draw(st.booleans()) else (1, 1))
    op = draw(maps_beyond(op, shape[1:]))
    array = array_size(op, shape[1:])
    assume(min(array) >= 1)
    op = replace(op, tail=draw(tails(*array)))
    output = array if op.tail.pool is None else op.tail.pool.output_size(array)
    outputs = draw(st.integers(1, 25)) if kind is Conv else shape[0]
    padded_pass = kind is Pass and op.pad_mode == "zero"
    residual = draw(st.none() | formats())
    if residual is not None and op.tail.residual == "multiply":  # the tail's numbers stay narrow
        residual = replace(residual, mantissa_bits=3, exponent_range=1)
    case = make_case(
        op,
        shape,
        outputs,
        (draw(formats()), draw(formats(signed=True)), draw(formats())),
        residual=residual,
        broadcast=draw(st.booleans()),
        pad_value=draw(st.integers(-5000, 5000)) if padded_pass else 0,
        bias_bits=0 if kind is Pass else draw(st.sampled_from([0, 8, 24])),
        tile=(draw(st.integers(1, output[0])), output[1]),
        window_top=draw(st.integers(-6, 3)),
        seed=draw(st.integers(0, 2**32)),
    )
    assume(tail_bound(case) < MOST_IN_TAIL)
    parts = draw(st.integers(1, 4)) if kind is Conv else 1
    return replace(case, channel_parts=parts, keeps_weights=draw(st.booleans()))


arrays = pytest.mark.parametrize(
    "array",
    [pytest.param(WIDEST, id="whole"), pytest.param(DIGITS, id="digits"), pytest.param(PACKED, id="packed")],
)


@arrays
@given(case=layers())
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_random_layers_agree_in_every_bit(build: Build, array: Architecture, case: LayerCase) -> None:
    assert_same_bits(build(array), case, array)


@arrays
@given(case=layers())
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_random_layers_meet_no_undefined_behaviour(build: Build, array: Architecture, case: LayerCase) -> None:
    assert_same_bits(build(array, flags=CHECKED), case, array)


@pytest.mark.parametrize(
    ("array", "cxx", "integers", "flags"),
    [
        pytest.param(WIDEST, CLANG, NATIVE, QUICK, id="whole-clang"),
        pytest.param(DIGITS, CLANG, NATIVE, QUICK, id="digits-clang"),
        pytest.param(WIDEST, GCC, AP_INT, QUICK, id="whole-ap_int", marks=with_ap_int),
        pytest.param(DIGITS, GCC, AP_INT, CHECKED_BUT_SHIFTS, id="digits-ap_int", marks=with_ap_int),
        pytest.param(DIGITS, CLANG, AP_INT, QUICK, id="digits-clang-ap_int", marks=with_ap_int),
        pytest.param(PACKED, GCC, AP_INT, CHECKED_BUT_SHIFTS, id="packed-ap_int", marks=with_ap_int),
        pytest.param(PACKED, GCC, AC_INT, CHECKED, id="packed-ac_int", marks=with_ac_int),
        pytest.param(WIDEST, GCC, AC_INT, QUICK, id="whole-ac_int", marks=with_ac_int),
        pytest.param(DIGITS, GCC, AC_INT, CHECKED, id="digits-ac_int", marks=with_ac_int),
        pytest.param(DIGITS, CLANG, AC_INT, QUICK, id="digits-clang-ac_int", marks=with_ac_int),
    ],
)
@given(case=layers())
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_every_compiler_and_integer_gives_the_same_bits(
    build: Build, array: Architecture, cxx: str, integers: str, flags: str, case: LayerCase
) -> None:
    assert_same_bits(build(array, cxx=cxx, integers=integers, flags=flags), case, array)


@pytest.mark.parametrize("weight_bits", [3, 8])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("activation_bits", [3, 8])
@pytest.mark.parametrize(
    ("op", "shape", "outputs", "tile"),
    [
        pytest.param(Conv((3, 3), pads=(1, 1, 1, 1), dilation=(2, 1), tail=RELU), (100, 7, 9), 70, (3, 9), id="dense"),
        pytest.param(Conv((1, 1)), (300, 1, 1), 100, (1, 1), id="fully-connected"),
        pytest.param(Conv((4, 4), pads=(2, 2, 2, 2), input_dilation=(2, 2)), (70, 5, 6), 40, (3, 12), id="transposed"),
        pytest.param(Depthwise((3, 3), pads=(1, 1, 1, 1)), (70, 5, 5), 70, (2, 5), id="depthwise"),
    ],
)  # fmt: skip
def test_wide_and_narrow_maps_and_weights_meet_on_one_array(
    build: Build,
    op: Conv,
    shape: tuple[int, int, int],
    outputs: int,
    tile: tuple[int, int],
    activation_bits: int,
    signed: bool,
    weight_bits: int,
) -> None:
    x, weight = BfpFormat(activation_bits, 16, 7, signed), BfpFormat(weight_bits, 16, 3)
    case = make_case(op, shape, outputs, (x, weight, BfpFormat(8, 16, 7)), tile=tile)
    assert_same_bits(build(LARGE_DIGITS), case, LARGE_DIGITS)


@pytest.mark.parametrize("weight_bits", [2, 5])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("channels", [3, 27, 32, 33])
def test_digits_side_by_side_agree_and_so_do_those_of_too_many_channels(
    build: Build, channels: int, signed: bool, weight_bits: int
) -> None:
    """On 64 lanes, in groups of 32."""
    x, weight = BfpFormat(6, 16, 7, signed), BfpFormat(weight_bits, 64, 3)
    op = Conv((3, 3), (2, 2), (1, 1, 1, 1), tail=RELU)
    case = make_case(op, (channels, 11, 9), 40, (x, weight, BfpFormat(6, 16, 7)), tile=(3, 5))
    assert layer_program(case, LARGE_DIGITS).activation_digits == 2
    assert layer_program(case, LARGE_DIGITS).digits_side_by_side == (channels <= 32)
    assert_same_bits(build(LARGE_DIGITS, flags=CHECKED), case, LARGE_DIGITS)


def test_digits_of_records_longer_than_a_beat_agree(build: Build) -> None:
    array = replace(LARGE_ARRAY, activation_bits=6, weight_bits=6)
    formats = (BfpFormat(12, 32, 7, signed=False), BfpFormat(12, 32, 3), BfpFormat(11, 64, 7))
    case = make_case(Conv((3, 3), pads=(1, 1, 1, 1), tail=RELU), (200, 5, 6), 140, formats, tile=(2, 6))
    assert_same_bits(build(array, flags=CHECKED), case, array)


@pytest.mark.parametrize(
    "integers",
    [
        pytest.param(NATIVE, id="int"),
        pytest.param(AP_INT, id="ap_int", marks=with_ap_int),
        pytest.param(AC_INT, id="ac_int", marks=with_ac_int),
    ],
)
def test_low_digits_carry_a_sum_past_its_width_and_back(build: Build, integers: str) -> None:
    """Weights of -1 have the lowest digit 7: with it alone the sum takes seven times as much as the whole."""
    array = replace(DIGITS, accumulator_bits=32)
    x, weight, output = BfpFormat(12, 4, 7, signed=False), BfpFormat(12, 4, 7), BfpFormat(12, 8, 7)
    case = make_case(Conv((3, 3)), (37, 3, 3), 25, (x, weight, output), bias_bits=0)
    full = Stored(x, np.full_like(case.x.mantissas, 4095), np.full_like(case.x.offsets, 7))
    weights, offsets = np.full_like(case.weights, -1), np.full_like(case.weight_offsets, 3)
    case = replace(case, x=full, weights=weights, weight_offsets=offsets)
    assert 2**30 <= np.abs(tail(case)).max() < 2**31
    folder = build(array, integers=integers, flags=QUICK if integers else CHECKED)
    assert_same_bits(folder, replace(case, output_exponent_shift=13), array)


def test_the_environment_does_not_change_what_is_built(build: Build) -> None:
    environment = {**os.environ, "AP_INCLUDE": "/somewhere"}
    command = ["make", "--always-make", "--dry-run", "build"]
    ran = subprocess.run(command, cwd=build(WIDEST), env=environment, capture_output=True, text=True, check=True)
    assert "BFPC_AP_INT" not in ran.stdout


def test_the_first_difference_is_named(build: Build) -> None:
    formats = (BfpFormat(6, 4, 3), BfpFormat(4, 4, 3), BfpFormat(7, 8, 3))
    case = make_case(Conv((1, 1)), (8, 4, 5), 21, formats, tile=(4, 5))
    folder = build(WIDEST)
    assert_same_bits(folder, case, WIDEST)
    right = quantize(tail(case), case.output, case.output_exponent_shift)
    wrong = Stored(right.format, right.mantissas.copy(), right.offsets)
    wrong.mantissas[17, 2, 3] ^= 1
    feature_words(wrong, WIDEST.k_vec).tofile(folder / "expected.bin")
    files = ("program.bin", "weights.bin", "input.bin", "trace.bin", "expected.bin")
    result = subprocess.run(["./csim", *files], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "layer 0 differs first at channel 17, row 2, column 3 (mantissa)" in result.stdout


def test_a_layer_count_runs_and_traces_only_the_first_layers(build: Build) -> None:
    case = make_case(Conv((1, 1)), (8, 4, 5), 21, (BfpFormat(6, 4, 3),) * 3, tile=(4, 5))
    folder = build(WIDEST)
    assert_same_bits(folder, case, WIDEST)
    files = ("program.bin", "weights.bin", "input.bin", "trace.bin")
    for count, expected in (("1", (folder / "expected.bin").read_bytes()), ("0", b"")):
        result = subprocess.run(["./csim", *files, count], cwd=folder, capture_output=True, text=True, check=True)
        assert result.stdout.startswith(f"{count} layers")
        assert (folder / "trace.bin").read_bytes() == expected


def test_multiplications_are_counted_without_inserted_zeros(build: Build) -> None:
    """A 4x4 filter on a map of 5x6, dilated by 2: each tap meets a quarter of the 12x14 positions."""
    op = Conv((4, 4), pads=(3, 3, 3, 3), input_dilation=(2, 2))
    case = make_case(op, (20, 5, 6), 7, NETWORK_FORMATS, tile=(4, 14))
    result = simulate(build(NARROW), case, NARROW)
    assert f"{16 * 20 * 7 * 12 * 14 // 4} MACs" in result.stdout


@pytest.mark.parametrize(
    ("op", "shape", "tile"),
    [
        pytest.param(Conv((3, 3)), (8, 40, 40), (38, 38), id="accumulators"),
        pytest.param(Conv((1, 1), tail=POOLED), (8, 40, 40), (20, 20), id="positions-to-be-pooled"),
        pytest.param(Conv((1, 1)), (8, 50, 50), (50, 50), id="features"),
        pytest.param(Depthwise((3, 3)), (8, 3, 600), (1, 598), id="line-of-depthwise-windows"),
    ],
)  # fmt: skip
def test_a_tile_that_does_not_fit_is_refused(
    build: Build, op: Conv, shape: tuple[int, int, int], tile: tuple[int, int]
) -> None:
    case = make_case(op, shape, 8, (BfpFormat(6, 4, 3),) * 3, tile=tile)
    result = simulate(build(WIDEST), case, WIDEST)
    assert result.returncode == 2
    assert "a tile of layer 0 does not fit" in result.stderr
