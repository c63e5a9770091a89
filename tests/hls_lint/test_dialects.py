"""The generated kernel in the words of Intel's HLS compiler, its units in Bambu's; and faults that the lint finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backend.graphs import ARCHITECTURE
from tests.backend.hls_project import write_project
from tests.backend.integer_headers import ac_int_headers, with_ac_int
from tests.hls_lint.dialects import BAMBU, INTEL, Dialect, dialect_faults, unrolled_before, unrolled_inside
from tests.hls_lint.source import Kernel, read_kernel

SOURCES = ("src/bfpc_accelerator.cpp", "units/dot_product_unit.cpp", "units/layer_tail_unit.cpp")
INTEL_HEADERS = Path(__file__).parent / "intel"

UNIT = """
template <int LANES> inline int sum_of(const int* values)
{
    int sum = 0;
    #pragma HLS unroll
    for (int lane = 0; lane < LANES; ++lane)
        sum += values[lane];
    return sum;
}
inline int halve(int value)
{
    #pragma HLS pipeline II=1
    return value / 2;
}
void unit(const int* values, int* result)
{
    #pragma HLS interface port=values mode=m_axi offset=direct bundle=values
    *result = halve(sum_of<4>(values));
}
"""
FAULTS = {
    "upper case": ("HLS unroll", "HLS UNROLL", "unknown directive: HLS UNROLL"),
    "option": ("II=1", "II=2", "unknown directive: HLS pipeline II=2"),
    "slave": ("offset=direct", "offset=slave", "unknown directive: HLS interface"),
    "place": ("int sum = 0;\n    #pragma HLS unroll", "#pragma HLS unroll\n    int sum = 0;", "stands before no loop"),
    "port": ("port=values", "port=value", "unit has no argument value"),
    "template": ("int sum = 0;", "#pragma HLS inline\n    int sum = 0;", "stands in a template, sum_of"),
    "function": ("inline int halve", "#pragma HLS inline\ninline int halve", "stands in no function"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(ARCHITECTURE, tmp_path_factory.mktemp("dialects"))


@with_ac_int
@pytest.mark.parametrize("source", SOURCES)
def test_the_sources_speak_to_intels_compiler(project: Path, source: str) -> None:
    flags = ("-DBFPC_INTEL", "-DBFPC_AC_INT", f"-I{INTEL_HEADERS}", f"-I{ac_int_headers()}")
    kernel = read_kernel(project / source, *flags, folder=project)
    assert dialect_faults(kernel, INTEL) == []
    assert_unrolled_alike(kernel, INTEL, project, source)


@pytest.mark.parametrize("source", SOURCES[1:])
def test_a_unit_speaks_to_bambu(project: Path, source: str) -> None:
    kernel = read_kernel(project / source, "-DBFPC_BAMBU", folder=project)
    assert dialect_faults(kernel, BAMBU) == []
    assert list(dynamic_containers(kernel)) == []
    assert_unrolled_alike(kernel, BAMBU, project, source)


def dynamic_containers(kernel: Kernel) -> Iterator[str]:
    """The headers of them that are read, which C simulation takes for its FIFOs."""
    yield from (line for line in kernel.lines if re.match(r'# 1 ".*/(vector|deque|queue|list|map)"', line))


def assert_unrolled_alike(kernel: Kernel, dialect: Dialect, project: Path, source: str) -> None:
    """The loops that a directive before them unrolls are those that one inside them unrolls for Vitis."""
    unrolled = unrolled_before(kernel, dialect)
    assert len(unrolled) > 10
    assert unrolled == unrolled_inside(read_kernel(project / source, "-DBFPC_PRAGMAS", folder=project))


def test_a_unit_as_it_should_be_has_no_faults(tmp_path: Path) -> None:
    assert faults(UNIT, tmp_path) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(name: str, tmp_path: Path) -> None:
    old, new, message = FAULTS[name]
    assert UNIT.count(old) == 1
    found = faults(UNIT.replace(old, new), tmp_path)
    assert len(found) == 1
    assert message in found[0]
    assert found[0].startswith("unit.cpp:")


def test_clang_refuses_intels_unroll_before_no_loop(tmp_path: Path) -> None:
    (tmp_path / "unit.cpp").write_text(UNIT.replace("int sum = 0;", "#pragma unroll\n    int sum = 0;"))
    with pytest.raises(ValueError, match=r"loop to follow '#pragma unroll'"):
        read_kernel(tmp_path / "unit.cpp")


def faults(text: str, folder: Path) -> list[str]:
    (folder / "unit.cpp").write_text(text)
    return dialect_faults(read_kernel(folder / "unit.cpp"), BAMBU)
