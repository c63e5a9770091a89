"""The accelerator's size: what `auto` chooses, and what is refused."""

from __future__ import annotations

import pytest

from bfpc.backend.architecture import Architecture
from bfpc.backend.architecture import size_architecture as size_for_array
from bfpc.config import ArraySize
from bfpc.config_architecture import ArchitectureConfig
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph
from bfpc.numerics.format import BfpFormat
from tests.backend.graphs import conv_layer, graph_of, small_network

ARRAY = ArraySize(c_vec=64, k_vec=32)


def size_architecture(graph: Graph, settings: ArchitectureConfig, array: ArraySize = ARRAY) -> Architecture:
    return size_for_array(graph, settings, array)


def _graph(activation: BfpFormat, weight: BfpFormat) -> Graph:
    return graph_of(conv_layer("conv", "image", inputs=70, outputs=70, size=6, weight=weight, activation=activation))


def test_auto_takes_the_smallest_block_and_a_wide_enough_accumulator() -> None:
    architecture = size_architecture(small_network(), ArchitectureConfig())
    assert (architecture.c_vec, architecture.k_vec, architecture.block) == (64, 32, 16)
    assert architecture.accumulator_bits == 32  # the layers need 28


def test_the_block_is_the_smallest_of_maps_and_weights() -> None:
    graph = _graph(BfpFormat(8, 64, 7), BfpFormat(8, 32, 3))
    assert size_architecture(graph, ArchitectureConfig(), ArraySize(64, 64)).block == 32


def test_operands_hold_unsigned_mantissas_with_a_sign() -> None:
    graph = _graph(BfpFormat(6, 16, 7, signed=False), BfpFormat(4, 16, 3))
    architecture = size_architecture(graph, ArchitectureConfig())
    assert (architecture.activation_bits, architecture.weight_bits, architecture.max_mantissa_bits) == (6, 4, 6)
    assert (architecture.activation_operand_bits, architecture.weight_operand_bits) == (7, 4)
    assert (architecture.most_activation_digits, architecture.most_weight_digits) == (1, 1)


def test_a_narrow_array_takes_digits_and_keeps_whole_mantissas_elsewhere() -> None:
    graph = _graph(BfpFormat(8, 16, 7, signed=False), BfpFormat(12, 16, 3))
    architecture = size_architecture(graph, ArchitectureConfig(activation_bits=4, weight_bits=4))
    assert (architecture.activation_operand_bits, architecture.weight_operand_bits) == (5, 5)
    assert (architecture.most_activation_digits, architecture.most_weight_digits) == (2, 3)
    assert (architecture.feature_bits, architecture.dense_weight_bits) == (9, 12)


def test_a_wider_array_than_the_network_needs_is_kept() -> None:
    graph = _graph(BfpFormat(5, 16, 7), BfpFormat(4, 16, 3))
    architecture = size_architecture(graph, ArchitectureConfig(activation_bits=8, weight_bits=6))
    assert (architecture.activation_operand_bits, architecture.weight_operand_bits) == (8, 6)
    assert (architecture.most_activation_digits, architecture.most_weight_digits) == (1, 1)


def test_wide_depthwise_weights_leave_the_array_narrow() -> None:
    architecture = size_architecture(small_network(), ArchitectureConfig())
    assert (architecture.weight_bits, architecture.depthwise_weight_bits) == (4, 8)


def test_settings_are_kept() -> None:
    settings = ArchitectureConfig(block=4, accumulator_bits=40, feature_depth=64, clock_mhz=200.0)
    architecture = size_architecture(small_network(), settings, ArraySize(128, 16))
    assert (architecture.c_vec, architecture.k_vec, architecture.block) == (128, 16, 4)
    assert (architecture.accumulator_bits, architecture.feature_depth) == (40, 64)
    assert architecture.dram_bytes_per_cycle == pytest.approx(96)


@pytest.mark.parametrize(
    ("settings", "array", "setting"),
    [
        (ArchitectureConfig(), ArraySize(64, 8), "k_vec"),
        (ArchitectureConfig(block=32), ARRAY, "block"),
        (ArchitectureConfig(), ArraySize(32, 64), "architecture"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(settings: ArchitectureConfig, array: ArraySize, setting: str) -> None:
    with pytest.raises(CapacityError) as refusal:
        size_architecture(small_network(), settings, array)
    assert setting in refusal.value.where
    assert refusal.value.fix


def test_accumulators_that_are_too_narrow_are_refused_by_name_and_number() -> None:
    graph = graph_of(conv_layer("wide", "image", inputs=16, outputs=16, size=4, accumulator_bits=37))
    assert size_architecture(graph, ArchitectureConfig()).accumulator_bits == 40
    with pytest.raises(CapacityError, match="wide needs accumulators of 37 bits, the array has 32"):
        size_architecture(graph, ArchitectureConfig(accumulator_bits=32))


@pytest.mark.parametrize(
    ("settings", "packed"),
    [
        ({"multipliers": "luts"}, 1),
        ({"multipliers": "dsps"}, 3),  # 6 x 4 bits: fields of 10, of which 24 bits beside the topmost sign hold three
        ({"multipliers": "dsps", "device": "kv260"}, 3),
        ({"multipliers": "dsps", "device": "agilex7"}, 2),  # operands of 19 and 18 bits
    ],
)
def test_weights_share_multipliers_of_the_devices_dsps(settings: dict[str, str], packed: int) -> None:
    graph = _graph(BfpFormat(5, 16, 7, signed=False), BfpFormat(4, 16, 3))
    assert size_architecture(graph, ArchitectureConfig.model_validate(settings)).packed_weights == packed
