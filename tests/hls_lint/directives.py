"""The HLS directives that Vitis takes (UG1399, "HLS Pragmas"): their options, and where they may stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

VARIABLE, NUMBER, FLAG = "a variable", "a whole number", "no value"  # what an option takes, or else one of some words
_OPTION = re.compile(r"(\w+)(?:\s*=\s*([\w.]+))?")


class Place(Enum):
    """The statement in whose body a directive stands."""

    FUNCTION = "a function"
    LOOP = "a loop"
    OTHER = "a conditional"


@dataclass(frozen=True)
class Directive:
    """options: what each takes. required: those that must be there."""

    places: frozenset[Place]
    options: Mapping[str, str | frozenset[str]]
    required: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ANYWHERE = frozenset(Place)
_REGION = frozenset({Place.FUNCTION, Place.LOOP})
_FUNCTION, _LOOP = frozenset({Place.FUNCTION}), frozenset({Place.LOOP})
_BOOLEAN = _words("true false")
_VARIABLE = _words("variable")

DIRECTIVES = {
    "AGGREGATE": Directive(_ANYWHERE, {"variable": VARIABLE, "compact": _words("bit byte none auto")}, _VARIABLE),
    "ARRAY_PARTITION": Directive(
        _ANYWHERE,
        {
            "variable": VARIABLE,
            "type": _words("complete cyclic block"),
            "factor": NUMBER,
            "dim": NUMBER,
            "off": _BOOLEAN,
        },
        _VARIABLE,
    ),
    "BIND_OP": Directive(
        _ANYWHERE,
        {
            "variable": VARIABLE,
            "op": _words("mul add sub fadd fsub fdiv fexp flog fmul fsqrt frsqrt frecip"),
            "impl": _words("dsp fabric meddsp fulldsp maxdsp primitivedsp auto none"),
            "latency": NUMBER,
        },
        _words("variable op"),
    ),
    "BIND_STORAGE": Directive(
        _ANYWHERE,
        {
            "variable": VARIABLE,
            "type": _words("fifo ram_1p ram_1wnr ram_2p ram_s2p ram_t2p rom_1p rom_2p rom_np"),
            "impl": _words("auto bram bram_ecc lutram memory srl uram uram_ecc"),
            "latency": NUMBER,
        },
        _words("variable type"),
    ),
    "DATAFLOW": Directive(_REGION, {"disable_start_propagation": FLAG}),
    "DEPENDENCE": Directive(
        _ANYWHERE,
        {
            "variable": VARIABLE,
            "class": _words("array pointer"),
            "type": _words("inter intra"),
            "direction": _words("RAW WAR WAW"),
            "distance": NUMBER,
            "dependent": _BOOLEAN,
        },
    ),
    "INLINE": Directive(_FUNCTION, {"off": FLAG, "recursive": FLAG}),
    "INTERFACE": Directive(
        _FUNCTION,
        {
            "mode": _words(
                "ap_none ap_stable ap_vld ap_ack ap_hs ap_ovld ap_memory bram ap_fifo ap_ctrl_none "
                "ap_ctrl_hs ap_ctrl_chain axis m_axi s_axilite"
            ),
            "port": VARIABLE,
            "bundle": "a name",
            "offset": _words("off direct slave"),
            "depth": NUMBER,
            "latency": NUMBER,
            "register": FLAG,
            "num_read_outstanding": NUMBER,
            "num_write_outstanding": NUMBER,
            "max_read_burst_length": NUMBER,
            "max_write_burst_length": NUMBER,
            "max_widen_bitwidth": NUMBER,
        },
        _words("mode port"),
    ),
    "LOOP_TRIPCOUNT": Directive(_LOOP, {"min": NUMBER, "max": NUMBER, "avg": NUMBER}, _words("max")),
    "PIPELINE": Directive(_REGION, {"II": NUMBER, "off": FLAG, "rewind": FLAG, "style": _words("stp flp frp")}),
    "STREAM": Directive(
        _ANYWHERE,
        {"variable": VARIABLE, "type": _words("fifo pipo shared unsync"), "depth": NUMBER},
        _VARIABLE,
    ),
    "UNROLL": Directive(_LOOP, {"factor": NUMBER, "skip_exit_check": FLAG, "off": _BOOLEAN}),
}


@dataclass(frozen=True)
class Pragma:
    """A directive in the source. line: of the preprocessed source; where: file and line as written."""

    name: str
    options: tuple[tuple[str, str | None], ...]
    line: int
    where: str

    def option(self, name: str) -> str | None:
        return dict(self.options).get(name)


def parse_pragma(text: str, line: int, where: str) -> Pragma:
    """text: what follows `#pragma HLS`. Raises ValueError where it is no name with options."""
    name, _, rest = text.strip().partition(" ")
    if _OPTION.sub("", rest).strip():
        raise ValueError(f"{where}: cannot read `#pragma HLS {text.strip()}`")
    options = tuple((match[1], match[2]) for match in _OPTION.finditer(rest))
    return Pragma(name.upper(), options, line, where)


def grammar_faults(pragma: Pragma) -> list[str]:
    """What the directive's own grammar objects to, whatever stands around it."""
    directive = DIRECTIVES.get(pragma.name)
    if directive is None:
        return [f"unknown directive {pragma.name}"]
    missing = [f"{pragma.name} lacks {name}=" for name in sorted(directive.required - dict(pragma.options).keys())]
    return missing + [fault for name, value in pragma.options for fault in _option_faults(pragma.name, name, value)]


def _option_faults(directive: str, name: str, value: str | None) -> list[str]:
    takes = DIRECTIVES[directive].options.get(name)
    if takes is None:
        return [f"{directive} has no option {name}"]
    if (value is None) != (takes == FLAG):
        return [f"{directive} {name} takes {takes if isinstance(takes, str) else 'a value'}"]
    if isinstance(takes, frozenset) and value not in takes:
        return [f"{directive} {name}={value}: not one of {', '.join(sorted(takes))}"]
    return []
