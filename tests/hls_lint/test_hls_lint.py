"""The generated kernel is one that Vitis HLS takes; and the lint finds what it should in kernels that are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bfpc.backend.architecture import Architecture
from tests.backend.graphs import ARCHITECTURE
from tests.backend.hls_project import write_project
from tests.backend.integer_headers import ap_int_headers, with_ap_int
from tests.hls_lint.directives import parse_pragma
from tests.hls_lint.rules import lint
from tests.hls_lint.source import Kernel, read_kernel

KERNEL = """
template <typename element_t> struct Stream { void write(element_t); element_t read(); };
constexpr int SIZE = 4;

inline void produce(int count, Stream<int>& out)
{
    for (int i = 0; i < count; ++i) {
        #pragma HLS PIPELINE II=1
        #pragma HLS LOOP_TRIPCOUNT min=1 max=SIZE
        out.write(i);
    }
}
template <int LANES> inline void consume(int count, Stream<int>& in, int* result)
{
    int sums[LANES] = {};
    #pragma HLS ARRAY_PARTITION variable=sums type=complete
    for (int i = 0; i < count; ++i) {
        #pragma HLS LOOP_TRIPCOUNT max=SIZE
        const int value = in.read();
        for (int lane = 0; lane < LANES; ++lane) {
            #pragma HLS UNROLL
            sums[lane] += value;
        }
        result[i] = sums[0];
    }
}
void kernel(int count, int* result)
{
    #pragma HLS DATAFLOW
    Stream<int> between;
    #pragma HLS STREAM variable=between depth=2
    produce(count, between);
    consume<SIZE>(count, between, result);
}
"""

# What is put in place of what, and what the lint then says.
FAULTS = {
    "directive": ("HLS UNROLL", "HLS UNROL", "unknown directive UNROL"),
    "option": ("II=1", "III=1", "PIPELINE has no option III"),
    "value of an option": ("type=complete", "type=whole", "type=whole: not one of block, complete, cyclic"),
    "option without its value": ("II=1", "II", "PIPELINE II takes a whole number"),
    "missing option": ("variable=between depth=2", "depth=2", "STREAM lacks variable="),
    "place": ("#pragma HLS DATAFLOW", "#pragma HLS UNROLL", "UNROLL stands in a function"),
    "variable": ("variable=sums", "variable=sum", "no variable sum is in scope"),
    "number": ("max=SIZE\n        const", "max=LARGEST\n        const", "max=LARGEST is no constant"),
    "dynamic memory": ("int sums[LANES] = {};", "int* sums = new int[LANES];", "dynamic memory"),
    "standard library": (
        "inline void produce(",
        "namespace std { inline int twice(int n) { return 2 * n; } }\n"
        "inline int fourfold(int n) { return 2 * std::twice(n); }\ninline void produce(",
        "std::twice of the standard library",
    ),
    "unbounded loop": ("        #pragma HLS LOOP_TRIPCOUNT min=1 max=SIZE\n", "", "a loop without a bound"),
    "while": (
        "for (int i = 0; i < count; ++i) {\n        #pragma HLS P",
        "while (count--) { int i = 0;\n #pragma HLS P",
        "a loop that is not a for",
    ),
    "unrolled without a bound": ("lane < LANES", "lane < count", "an unrolled loop whose bound is no constant"),
    "recursion": (
        "result[i] = sums[0];",
        "result[i] = sums[0]; consume<LANES>(count - 1, in, result);",
        "consume is recursive",
    ),
    "virtual method": ("struct Stream {", "struct Stream { virtual void peek();", "a virtual method, peek"),
    "pointer to a function": (
        "int count, int* result)\n{\n    #",
        "int count, int* result, int (*rule)(int))\n{\n    #",
        "a pointer to a function, rule",
    ),
    "process with a result": (
        "inline void produce(int count, Stream<int>& out)\n{",
        "inline int produce(int count, Stream<int>& out)\n{\n    return 0;",
        "the process produce returns something",
    ),
    "computation between processes": (
        "    produce(count, between);",
        "    count += 1;\n    produce(count, between);",
        "neither a declaration nor a process",
    ),
    "conditional process": (
        "    produce(count, between);",
        "    if (count) produce(count, between);",
        "neither a declaration nor a process",
    ),
    "two producers": (
        "    produce(count, between);",
        "    produce(1, between);\n    produce(count, between);",
        "2 processes write between, not one: produce, produce",
    ),
    "no consumer": ("    consume<SIZE>(count, between, result);\n", "", "0 processes read between"),
    "consumer first": (
        "    produce(count, between);\n    consume<SIZE>(count, between, result);",
        "    consume<SIZE>(count, between, result);\n    produce(count, between);",
        "between is read before it is written",
    ),
    "signed loop of a region": (
        "{\n    #pragma HLS DATAFLOW\n    Stream<int> between;",
        "{\n for (int tile = 0; tile < 2; ++tile) {\n #pragma HLS LOOP_TRIPCOUNT max=2\n"
        " #pragma HLS DATAFLOW\n Stream<int> between;",
        "is no unsigned integer from 0 on",
    ),
}

LARGE = replace(ARCHITECTURE, c_vec=128, k_vec=64, block=32)
DIGITS = replace(ARCHITECTURE, activation_bits=2, weight_bits=1)


def faults(text: str, folder: Path) -> list[str]:
    (folder / "kernel.cpp").write_text(text)
    return lint(read_kernel(folder / "kernel.cpp"))


@with_ap_int
@pytest.mark.parametrize("architecture", [ARCHITECTURE, LARGE, DIGITS], ids=["small", "large", "digits"])
def test_the_generated_kernel_has_no_faults(architecture: Architecture, tmp_path: Path) -> None:
    kernel = generated(architecture, "src/bfpc_accelerator.cpp", tmp_path)
    assert {"DATAFLOW", "INTERFACE", "PIPELINE"} <= {pragma.name for pragma in kernel.pragmas}
    assert lint(kernel) == []


@with_ap_int
@pytest.mark.parametrize("unit", ["dot_product", "layer_tail"])
def test_the_generated_units_have_no_faults(unit: str, tmp_path: Path) -> None:
    kernel = generated(DIGITS, f"units/{unit}_unit.cpp", tmp_path)
    assert f"{unit}_unit" in kernel.functions
    assert lint(kernel) == []


def generated(architecture: Architecture, source: str, folder: Path) -> Kernel:
    write_project(architecture, folder)
    flags = ("-DBFPC_PRAGMAS", "-DBFPC_AP_INT", f"-I{ap_int_headers()}")
    return read_kernel(folder / source, *flags, folder=folder)


def test_a_kernel_as_it_should_be_has_no_faults(tmp_path: Path) -> None:
    assert faults(KERNEL, tmp_path) == []


def _closed(name: str, text: str) -> str:
    """A loop that a replacement opened needs its end."""
    return text.rstrip() + "\n}\n" if name == "signed loop of a region" else text


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(name: str, tmp_path: Path) -> None:
    old, new, message = FAULTS[name]
    assert KERNEL.count(old) == 1
    found = faults(_closed(name, KERNEL.replace(old, new)), tmp_path)
    assert any(message in fault for fault in found), found
    assert all(fault.startswith("kernel.cpp:") for fault in found)


def test_what_is_no_list_of_options_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot read"):
        parse_pragma("PIPELINE II=(1)", 1, "kernel.cpp:1")
