"""The config's section on the accelerator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bfpc.config_sections import MULTIPLIED_BITS, Section, listed, one_of
from bfpc.numerics.format import BLOCK_SIZES

LANES = (4, 8, 16, 32, 64, 128, 256)
ACCUMULATOR_WIDTHS = (32, 40, 48)
DEPTHWISE_WINDOWS = tuple(range(1, 8))
Auto = Literal["auto"]
Lanes = Annotated[int | Auto, one_of("auto", *LANES)]
_LANES_TEXT = f"auto or one of {listed(LANES)}"


class ArchitectureConfig(Section):
    """The size of the accelerator; `auto` takes the smallest that serves the network well.

    `activation_bits` and `weight_bits` are of the mantissas that the array multiplies at a time: a dense layer with
    wider ones, their sign not counted, takes several passes. `auto` takes the widest in use, so that one pass is
    enough. `depthwise_window` is the side of the largest depthwise filter of which all taps multiply in one cycle;
    larger ones take a cycle for each. `auto` takes the largest in use. `on_chip_kilobytes` is a memory on chip in which
    maps stay from the layer that makes them to those that read them, as many as it holds; `weight_kilobytes` one in
    which weights stay while a layer's spatial tiles pass, so that they are read from DRAM once. `multipliers`: what
    makes the array's products; a DSP makes several narrow ones at once, as many as fit those of `device`. `device`: the
    FPGA that the accelerator is for, and a report compares with: one of those that `bfpc explore` knows.
    """

    c_vec: Lanes = Field(
        "auto", title="input channels that a processing element multiplies per cycle", description=_LANES_TEXT
    )
    k_vec: Lanes = Field("auto", title="processing elements, one output channel each", description=_LANES_TEXT)
    block: Annotated[int | Auto, one_of("auto", *BLOCK_SIZES)] = Field(
        "auto", title="smallest block size that the array takes", description=f"auto or one of {listed(BLOCK_SIZES)}"
    )
    activation_bits: Annotated[int | Auto, one_of("auto", *MULTIPLIED_BITS)] = Field(
        "auto",
        title="width of the activation mantissas that are multiplied at a time, without signs",
        description=f"auto or one of {listed(MULTIPLIED_BITS)}",
    )
    weight_bits: Annotated[int | Auto, one_of("auto", *MULTIPLIED_BITS)] = Field(
        "auto",
        title="width of the weight mantissas that are multiplied at a time, without signs",
        description=f"auto or one of {listed(MULTIPLIED_BITS)}",
    )
    accumulator_bits: Annotated[int | Auto, one_of("auto", *ACCUMULATOR_WIDTHS)] = Field(
        "auto", title="width of the accumulators", description=f"auto or one of {listed(ACCUMULATOR_WIDTHS)}"
    )
    depthwise_window: Annotated[int | Auto, one_of("auto", *DEPTHWISE_WINDOWS)] = Field(
        "auto",
        title="side of the largest depthwise filter that takes one cycle",
        description=f"auto or one of {listed(DEPTHWISE_WINDOWS)}",
    )
    feature_depth: int = Field(
        4096,
        ge=64,
        le=1 << 24,
        title="vectors in the feature buffer and in the FIFO before it",
        description="a whole number of vectors from 64 to 2**24",
    )
    accumulator_positions: int = Field(
        1024,
        ge=64,
        le=1 << 24,
        title="positions in the buffer of accumulators",
        description="a whole number of positions from 64 to 2**24",
    )
    on_chip_kilobytes: int = Field(
        2048,
        ge=0,
        le=1 << 22,
        title="memory on chip for maps between layers",
        description="a whole number of 1024 bytes up to 2**22; 0 for none",
    )
    weight_kilobytes: int = Field(
        256,
        ge=0,
        le=1 << 22,
        title="memory on chip for weights that several spatial tiles need",
        description="a whole number of 1024 bytes up to 2**22; 0 for none",
    )
    multipliers: Literal["luts", "dsps"] = Field(
        "luts", title="what makes the array's products", description="luts or dsps"
    )
    device: str | None = Field(None, title="the FPGA that the accelerator is for", description="an FPGA, such as kv260")
    clock_mhz: float = Field(300.0, gt=0, title="clock for which times are estimated", description="a number above 0")
    dram_gigabytes_per_second: float = Field(
        19.2, gt=0, title="bandwidth for which times are estimated", description="a number above 0"
    )
