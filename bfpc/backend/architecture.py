"""The accelerator's size: the parameters of the generated hardware, and how a network fills those left on `auto`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from bfpc.backend.bit_packing import WORD_BITS, WORD_BYTES
from bfpc.backend.devices import find_device
from bfpc.backend.dsp_packing import DSP48E1, Multiplier, packed_products
from bfpc.config import ArraySize
from bfpc.config_architecture import ACCUMULATOR_WIDTHS, DEPTHWISE_WINDOWS, ArchitectureConfig
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Conv, Depthwise
from bfpc.numerics.digits import digits_of
from bfpc.numerics.format import MIN_MANTISSA_BITS, BfpFormat

Multipliers = Literal["luts", "dsps"]
BEAT_WORDS = 8  # 64-bit words that a memory port moves per cycle
BEAT_BITS, BEAT_BYTES = WORD_BITS * BEAT_WORDS, WORD_BYTES * BEAT_WORDS
FILL_LATENCY = 4  # cycles from writing a vector of features to reading it
LINE_POSITIONS = 512  # of a row of the map that depthwise windows move along
MIN_STEP_CYCLES = 16  # between two additions to an accumulator: more than the adder's latency, whatever the tile's size

CHUNK_POSITIONS = 64  # of a row that a region's streams receive in turn
WEIGHT_FIFO_DEPTH = 512  # beats: weights of the next spatial tile or channel tile
AHEAD_WEIGHT_BEATS = 128  # of the next layer, read while one ends: unpacking takes as long as memory's answer
STEP_FIFO_DEPTH = 2  # steps that a processing element's weights arrive ahead
OUTPUT_FIFO_DEPTH = 64  # positions between tail and store


@dataclass(frozen=True)
class Architecture:
    """One accelerator. All of c_vec, k_vec and block are powers of two, block <= k_vec <= c_vec.

    c_vec: lanes, the input channels a processing element multiplies per cycle.
    k_vec: processing elements, each making one output channel; also the channels of a group of the feature memory.
    block: the finest block the array aligns; every block of an activation or dense weight is a multiple of it.
    activation_bits, weight_bits: mantissa bits that a dense layer multiplies at a time; wider mantissas are split into
        digits of so many bits.
    feature_bits: width of a signed integer that holds any mantissa of a map that is read.
    dense_weight_bits: width of a signed integer that holds any dense weight's mantissa.
    depthwise_weight_bits: the same of depthwise weights. Depthwise layers have multipliers of their own, which take
        whole mantissas.
    depthwise_window: rows and columns of the largest depthwise filter whose taps all multiply in one cycle.
    accumulator_bits: width of an accumulator, sign included.
    max_mantissa_bits: widest mantissa that the feature memory stores.
    feature_depth: vectors of c_vec mantissas in the feature buffer, and in the FIFO before it.
    accumulator_positions: positions of the accumulator buffer, and of that in which the tail collects them for pooling.
    on_chip_words: 64-bit words of the feature memory that lie on chip, whole beats; the others lie in DRAM.
    weight_beats: beats of weights that stay on chip while a layer's spatial tiles pass.
    multipliers: whether the array's products are made in logic or in DSPs.
    packed_weights: weights of as many processing elements that share a multiplier; 1 in logic.
    """

    c_vec: int
    k_vec: int
    block: int
    activation_bits: int
    weight_bits: int
    feature_bits: int
    dense_weight_bits: int
    depthwise_weight_bits: int
    accumulator_bits: int
    max_mantissa_bits: int
    depthwise_window: int = 1
    feature_depth: int = 4096
    accumulator_positions: int = 1024
    on_chip_words: int = 0
    weight_beats: int = 0
    multipliers: Multipliers = "luts"
    packed_weights: int = 1
    clock_mhz: float = 300.0
    dram_gigabytes_per_second: float = 19.2

    @property
    def vector_groups(self) -> int:
        """Channel groups of a vector."""
        return self.c_vec // self.k_vec

    @property
    def on_chip_kilobytes(self) -> int:
        return self.on_chip_words * WORD_BYTES // 1024

    @property
    def weight_kilobytes(self) -> int:
        return self.weight_beats * BEAT_BYTES // 1024

    @property
    def dram_bytes_per_cycle(self) -> float:
        return self.dram_gigabytes_per_second * 1e3 / self.clock_mhz

    @property
    def macs_per_cycle(self) -> int:
        return self.c_vec * self.k_vec

    @property
    def activation_operand_bits(self) -> int:
        """Width of a multiplier's signed operand for any activation, or for any digit of one."""
        return min(self.feature_bits, self.activation_bits + 1)

    @property
    def weight_operand_bits(self) -> int:
        """The same of dense weights."""
        return min(self.dense_weight_bits, self.weight_bits + 1)

    @property
    def most_activation_digits(self) -> int:
        """The digits of the widest activation."""
        return digits_of(self.feature_bits - 1, self.activation_bits)

    @property
    def most_weight_digits(self) -> int:
        """The digits of the widest dense weight."""
        return digits_of(self.dense_weight_bits - 1, self.weight_bits)


@dataclass(frozen=True)
class _Use:
    """A format and the layer that needs it, for messages."""

    layer: str
    role: str
    format: BfpFormat

    @property
    def operand_bits(self) -> int:
        """Width of a signed operand for the mantissas."""
        return self.format.magnitude_bits + 1


def size_architecture(graph: Graph, settings: ArchitectureConfig, array: ArraySize) -> Architecture:
    """The accelerator of the `architecture:` settings, with an array of a given size, for a quantized graph.

    What is on `auto` is filled to fit; then no layer needs digits.
    Raises CapacityError, naming the layer and the setting, where a layer does not fit what is set.
    """
    activations = list(_activation_uses(graph))
    weights = list(_weight_uses(graph))
    dense, depthwise = ([use for use in weights if use.role == f"{kind} weights"] for kind in ("dense", "depthwise"))
    smallest = min(use.format.block_size for use in activations + dense)
    c_vec, k_vec = array
    block = smallest if isinstance(settings.block, str) else settings.block
    _check_blocks(activations, block, k_vec, "k_vec")
    _check_blocks(dense, block, c_vec, "c_vec")
    _check_array(c_vec, k_vec, block)
    inputs = [use for use in activations if use.role == "input"]
    activation_bits, weight_bits = _at_a_time(inputs, settings.activation_bits), _at_a_time(dense, settings.weight_bits)
    sized = Architecture(
        c_vec=c_vec,
        k_vec=k_vec,
        block=block,
        activation_bits=activation_bits,
        weight_bits=weight_bits,
        feature_bits=max(activation_bits, _widest(inputs)),
        dense_weight_bits=max(weight_bits, _widest(dense)),
        depthwise_weight_bits=_widest(depthwise),
        accumulator_bits=_accumulator_bits(graph, settings.accumulator_bits),
        max_mantissa_bits=max(use.format.mantissa_bits for use in activations),
        depthwise_window=depthwise_window(graph, settings.depthwise_window),
        feature_depth=settings.feature_depth,
        accumulator_positions=settings.accumulator_positions,
        on_chip_words=settings.on_chip_kilobytes * 1024 // WORD_BYTES,
        weight_beats=settings.weight_kilobytes * 1024 // BEAT_BYTES,
        clock_mhz=settings.clock_mhz,
        dram_gigabytes_per_second=settings.dram_gigabytes_per_second,
    )
    dsp = DSP48E1 if settings.device is None else find_device(settings.device).family.multiplier
    return with_multipliers(sized, settings.multipliers, dsp)


def with_multipliers(architecture: Architecture, multipliers: Multipliers, dsp: Multiplier) -> Architecture:
    """The same with products made in logic, or in DSPs of a kind. Too wide operands take several, none packed."""
    operands = architecture.activation_operand_bits, architecture.weight_operand_bits
    packed = max(1, packed_products(*operands, dsp)) if multipliers == "dsps" else 1
    return replace(architecture, multipliers=multipliers, packed_weights=packed)


def _at_a_time(uses: list[_Use], setting: int | str) -> int:
    """The mantissa bits that are multiplied at a time: on `auto` those of the widest format."""
    widest = max((use.format.mantissa_bits for use in uses), default=MIN_MANTISSA_BITS)
    return widest if isinstance(setting, str) else setting


def _widest(uses: list[_Use]) -> int:
    return max((use.operand_bits for use in uses), default=MIN_MANTISSA_BITS)


def _activation_uses(graph: Graph) -> Iterator[_Use]:
    for node in graph.layers:
        roles = {"input": node.inputs["x"], "residual": node.inputs.get("residual"), "output": node.name}
        for role, name in roles.items():
            if name is not None:
                yield _Use(node.name, role, graph.format(name))


def _weight_uses(graph: Graph) -> Iterator[_Use]:
    for node in graph.layers:
        weight = graph.weight(node)
        if weight is not None:
            yield _Use(node.name, "dense weights" if isinstance(node.op, Conv) else "depthwise weights", weight.format)


def depthwise_window(graph: Graph, setting: int | str) -> int:
    """On `auto` what holds the largest depthwise filter that is not beyond the largest window."""
    if isinstance(setting, int):
        return setting
    sides = (max(node.layer.kernel) for node in graph.layers if isinstance(node.op, Depthwise))
    return max((side for side in sides if side <= max(DEPTHWISE_WINDOWS)), default=min(DEPTHWISE_WINDOWS))


def _check_array(c_vec: int, k_vec: int, block: int) -> None:
    for setting, size in (("c_vec", c_vec), ("k_vec", k_vec), ("block", block)):
        if size < 1 or size & (size - 1):
            raise CapacityError(f"{setting} is {size}", where=f"architecture.{setting}", fix="use a power of two")
    if not block <= k_vec <= c_vec:
        raise CapacityError(
            f"block {block}, k_vec {k_vec} and c_vec {c_vec} are not in ascending order",
            where="architecture",
            fix="choose block <= k_vec <= c_vec, or leave them on `auto`",
        )


def _check_blocks(uses: list[_Use], block: int, limit: int, setting: str) -> None:
    for use in uses:
        size = use.format.block_size
        if size > limit:
            raise CapacityError(
                f"the {use.role} of {use.layer} has blocks of {size}, which {setting} = {limit} cannot hold",
                where=f"architecture.{setting}",
                fix=f"set architecture.{setting} to at least {size}, or a smaller block_size",
            )
        if size < block:
            raise CapacityError(
                f"the {use.role} of {use.layer} has blocks of {size}, finer than the array's {block}",
                where="architecture.block",
                fix=f"set architecture.block to {size} or `auto`",
            )


def _accumulator_bits(graph: Graph, setting: int | str) -> int:
    needed = {node.name: node.arithmetic.accumulator_bits for node in graph.layers if node.arithmetic is not None}
    layer = max(needed, key=lambda name: needed[name])
    sufficient = next(size for size in ACCUMULATOR_WIDTHS if size >= needed[layer])
    if isinstance(setting, str):
        return sufficient
    if needed[layer] > setting:
        raise CapacityError(
            f"{layer} needs accumulators of {needed[layer]} bits, the array has {setting}",
            where="architecture.accumulator_bits",
            fix=f"set architecture.accumulator_bits to {sufficient} or auto, or narrow the layer's formats",
        )
    return setting
