"""Arrays of .npy and .npz files, which stay there until they are used, and then are read as far as they are used."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from bfpc.errors import DataError

LOCAL_HEADER, LOCAL_LENGTHS = (
    30,
    26,
)  # of a member of a zip archive: bytes in all, and where the lengths of its names are


@dataclass(frozen=True)
class StoredArray:
    """An array in a file. Pickled, it is no more than its place."""

    path: Path
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]

    def open(self) -> NDArray[Any]:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)


def read_arrays(source: Path) -> dict[str, NDArray[Any] | StoredArray]:
    """The arrays of a .npz by their names; a .npy is one without a name. Compressed ones are read at once.

    Raises DataError where the file cannot be read.
    """
    try:
        with source.open("rb") as file:
            return {"": _find(file, source, 0)} if source.suffix == ".npy" else _find_members(file, source)
    except Exception as error:  # what NumPy, zipfile and zlib raise on broken files is not documented
        fix = "write it with numpy.save or numpy.savez, without objects"
        raise DataError(f"not a readable array file: {error}", where=str(source), fix=fix) from None


def _find_members(file: BinaryIO, source: Path) -> dict[str, NDArray[Any] | StoredArray]:
    with np.load(file, allow_pickle=False) as archive:
        members: Mapping[str, zipfile.ZipInfo] = {
            info.filename.removesuffix(".npy"): info for info in archive.zip.infolist()
        }
        return {
            name: archive[name] if info.compress_type else _find(file, source, _start(file, info))
            for name, info in members.items()
        }


def _start(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Where a member's content begins."""
    file.seek(member.header_offset + LOCAL_LENGTHS)
    name, extra = struct.unpack("<HH", file.read(4))
    return int(member.header_offset + LOCAL_HEADER + name + extra)


def _find(file: BinaryIO, source: Path, start: int) -> NDArray[Any] | StoredArray:
    """The array whose header begins at `start`; one without elements as it is."""
    file.seek(start)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds objects")
    if not dtype.itemsize or 0 in shape:
        return np.empty(shape, dtype)
    found = StoredArray(source, file.tell(), dtype, shape, "F" if is_fortran else "C")
    found.open()  # which fails where the file ends too early
    return found
