"""What the JSON files of a build folder must look like for the commands that read them, key by key."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError, from_json
from typing_extensions import TypedDict

from bfpc.backend.architecture import Architecture
from bfpc.backend.schedule import LayerSchedule
from bfpc.ir.layout import Fold
from bfpc.ir.partition import HostNode
from bfpc.numerics.format import MAX_EXPONENT_RANGE, MAX_MANTISSA_BITS, MIN_MANTISSA_BITS

MAX_COUNT = 1 << 40


def _below(path: str) -> str:
    """A path that stays below the folder that it is relative to, whatever the system."""
    if not path.isprintable() or set(path) & {"\\", ":"} or {"", ".", ".."} & set(path.split("/")):
        raise PydanticCustomError("path", "the path leads out of the folder")
    return path


Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Size = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Sizes = tuple[Size, Size, Size]
FilePath = Annotated[str, AfterValidator(_below)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Document = TypeVar("Document")


class FormatEntry(TypedDict):
    mantissa_bits: Annotated[int, Field(ge=MIN_MANTISSA_BITS, le=MAX_MANTISSA_BITS)]
    block_size: Annotated[int, Field(ge=1, le=1 << 16)]
    exponent_range: Annotated[int, Field(ge=0, le=MAX_EXPONENT_RANGE)]
    signed: bool
    exponent: Annotated[int, Field(ge=-512, le=512)]


class PortEntry(TypedDict):
    name: str
    shape: list[Count]
    stage: Count
    axes: list[str]
    fold: Fold | None
    map: str
    map_shape: Sizes
    format: FormatEntry
    scale_exponent: int
    address: Count
    words: Count


class HostEntry(TypedDict):
    file: FilePath
    stage: Count
    inputs: list[str]
    outputs: list[str]
    nodes: list[HostNode]


class LayoutEntry(TypedDict):
    channels: Size
    weight_format: FormatEntry | None
    weight_shape: tuple[Size, Size, Size, Size] | None
    dense: bool
    bias_bits: Annotated[int, Field(ge=0, le=64, multiple_of=8)]
    has_slope: bool
    c_vec: Annotated[int, Field(ge=1, le=1 << 16)]
    k_vec: Annotated[int, Field(ge=1, le=1 << 16)]


class ImageEntry(TypedDict):
    address: Count
    words: Count
    layout: LayoutEntry
    table_address: Count | None


class LayerEntry(TypedDict):
    name: str
    input_formats: dict[Literal["x", "residual"], FormatEntry]
    output_format: FormatEntry
    constants: dict[Literal["weight", "bias", "slope", "table"], str]
    weights: ImageEntry


class StageEntry(TypedDict):
    first_layer: Count
    layers: Count


class MemoryEntry(TypedDict):
    words: Count
    group: Annotated[int, Field(ge=1, le=1 << 16)]


class TraceEntry(TypedDict):
    name: str
    words: Count


class Manifest(TypedDict):
    """`manifest.json`."""

    manifest_version: int
    bfpc_version: str
    program_version: int
    network: str
    inputs: list[PortEntry]
    outputs: list[PortEntry]
    outputs_of_network: list[str]
    host: list[HostEntry]
    stages: list[StageEntry]
    feature_memory: MemoryEntry
    layers: list[LayerEntry]
    trace: list[TraceEntry]
    config: dict[str, Any]
    files: dict[FilePath, Checksum]


class WeightsEntry(TypedDict):
    count: Count
    bytes: Count
    bits_per_weight: float
    ideal_bits_per_weight: float


class MapEntry(TypedDict):
    name: str
    address: Count
    words: Count
    life: tuple[Annotated[int, Field(ge=-1)], Annotated[int, Field(ge=-1, le=MAX_COUNT)]]


class ScheduleDocument(TypedDict):
    """`schedule.json`."""

    network: str
    macs: Count
    cycles: Size
    estimated_cycles: Count
    stalls: dict[str, Count]
    utilization: float
    dram_bytes: Count
    estimated_dram_bytes: Count
    milliseconds: Annotated[float, Field(gt=0)]
    architecture: Architecture
    feature_memory_words: Count
    feature_memory_live_words: Count
    weights: WeightsEntry
    layers: Annotated[list[LayerSchedule], Field(min_length=1)]
    maps: list[MapEntry]


class Timeline(TypedDict):
    """`timeline.json`."""

    cycles: Size
    intervals: list[tuple[str, str, Count, Count]]


class _Checker(Generic[Document]):
    """Reads a file of a kind. Keys that it does not know stay."""

    def __init__(self, kind: type[Document]) -> None:
        self._adapter = TypeAdapter(kind)

    def __call__(self, content: bytes) -> dict[str, Any]:
        """The document as plain values. Raises ValueError, of one line, where it is none."""
        try:
            document = from_json(content, allow_inf_nan=False)
            self._adapter.validate_json(content, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        assert isinstance(document, dict)
        return document


def read_architecture(schedule: bytes) -> Architecture:
    """The accelerator that a checked `schedule.json` describes."""
    return TypeAdapter(Architecture).validate_python(from_json(schedule)["architecture"])


check_manifest, check_schedule, check_timeline = _Checker(Manifest), _Checker(ScheduleDocument), _Checker(Timeline)
