"""What an accelerator takes of a device: memories by the rules, counts by the fit, and whether it fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bfpc.backend.architecture import Architecture
from bfpc.backend.area import array_luts, fit
from bfpc.backend.devices import devices, find_device
from bfpc.backend.memories import Memory
from bfpc.backend.resources import FILL, Resources, estimate_area, held_memories
from bfpc.errors import ConfigError
from tests.backend.graphs import ARCHITECTURE

ZU9, ZU7 = find_device("zu9"), find_device("zu7")
IN_DSPS = replace(ARCHITECTURE, multipliers="dsps")


def taken(device: str, kind: str, depth: int, bits: int, copies: int = 1, *, doubled: bool = False) -> Resources:
    memory = Memory("buffers", "f", "m", "fifo" if kind == "fifo" else "buffer", depth, bits, copies, doubled)
    return held_memories(find_device(device), [memory])["buffers"]


@pytest.mark.parametrize(
    ("device", "depth", "bits", "blocks"),
    [
        ("zu9", 512, 72, 1),  # two halves of 512 x 36
        ("zu9", 1024, 36, 1),
        ("zu9", 1024, 19, 1),  # two halves of 1024 x 18
        ("zu9", 1024, 18, 0.5),
        ("zu9", 1025, 18, 1),
        ("zu9", 16384, 1, 0.5),
        ("arria10", 512, 40, 1),
        ("arria10", 1024, 40, 2),
        ("arria10", 2048, 10, 1),
    ],
)
def test_arrays_take_the_fewest_blocks(device: str, depth: int, bits: int, blocks: float) -> None:
    assert taken(device, "buffer", depth, bits) == Resources(block_rams=blocks)


def test_copies_and_both_halves_of_a_doubled_array_count() -> None:
    assert taken("zu9", "buffer", 512, 36, 3, doubled=True) == Resources(block_rams=6 * 0.5)


@pytest.mark.parametrize(("depth", "bits"), [(2, 4096), (16, 64)])
def test_small_fifos_are_shift_registers(depth: int, bits: int) -> None:
    assert taken("zu9", "fifo", depth, bits) == Resources(logic=bits)


def test_small_fifos_of_intel_are_mlabs() -> None:
    assert taken("arria10", "fifo", 2, 100) == Resources(logic=5 * 10)


def test_a_deep_array_moves_to_urams_where_there_are_some() -> None:
    assert taken("kv260", "buffer", 4096, 144) == Resources(urams=2)
    assert taken("zu9", "buffer", 4096, 144) == Resources(block_rams=16)


def test_the_array_takes_what_the_fit_says() -> None:
    [array, *others] = estimate_area(ARCHITECTURE, ZU9).modules
    assert array.resources == Resources(logic=array_luts(ARCHITECTURE))
    assert array.error == fit("xcup").error
    assert {module.name for module in others} == {"depthwise lanes", "buffers", "loaders", "tail", "DMA"}


def test_a_memory_on_chip_takes_the_blocks_that_hold_its_words() -> None:
    """2 MiB in beats of 512 bits: 32768 of them, in 8 URAMs of 4096 words one behind the other and 8 beside."""
    with_memory = replace(ARCHITECTURE, on_chip_words=1 << 18)
    module = next(each for each in estimate_area(with_memory, ZU7).modules if each.name == "on-chip memory")
    assert module.resources == Resources(urams=8 * 8)


def test_dsps_relieve_the_logic_and_are_shared_by_processing_elements() -> None:
    """Operands of 5 and 4 bits: three products in a DSP48E2, so 32 elements take 11 DSPs for a lane."""
    luts, dsps = (estimate_area(each, ZU9).modules[0] for each in (ARCHITECTURE, IN_DSPS))
    assert dsps.resources.dsps == ARCHITECTURE.c_vec * 11
    assert dsps.resources.logic < luts.resources.logic


@pytest.mark.parametrize("field", ["c_vec", "k_vec", "feature_depth", "accumulator_positions"])
@pytest.mark.parametrize("architecture", [ARCHITECTURE, IN_DSPS], ids=["luts", "dsps"])
def test_a_larger_accelerator_takes_more(field: str, architecture: Architecture) -> None:
    smaller = replace(architecture, c_vec=128)
    larger = replace(smaller, **{field: 2 * getattr(smaller, field)})
    before, after = (estimate_area(each, ZU9).total for each in (smaller, larger))
    assert before != after
    assert all(getattr(before, name) <= getattr(after, name) for name in FILL)


@pytest.mark.parametrize("resource", ["logic", "block_rams", "dsps"])
def test_an_accelerator_fits_up_to_the_share_that_can_be_filled(resource: str) -> None:
    plenty = replace(ZU9, logic=10**9, block_rams=10**6, dsps=10**6)
    needed = getattr(estimate_area(ARCHITECTURE, plenty).total, resource) / FILL[resource]
    sizes = {1.01: True, 0.99: False}
    found = {size: estimate_area(ARCHITECTURE, replace(plenty, **{resource: round(size * needed)})) for size in sizes}
    assert {size: area.fits for size, area in found.items()} == sizes
    assert {area.scarcest for area in found.values()} == {resource}


def test_a_memory_that_is_there_twice_counts_twice() -> None:
    memory = Memory("loaders", "f", "m", "fifo", 1024, 36)
    assert held_memories(ZU9, [memory, memory])["loaders"] == Resources(block_rams=2)


@pytest.mark.parametrize("name", devices())
def test_every_device_can_be_estimated(name: str) -> None:
    area = estimate_area(ARCHITECTURE, find_device(name))
    assert all(0 <= share < 100 for share in area.shares.values())


def test_an_unknown_device_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean kv260\?"):
        find_device("kv26")
