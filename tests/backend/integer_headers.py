"""The headers of arbitrary-precision integers, AMD's and Intel's, which are not part of this repository."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest


def ap_int_headers() -> str:
    """The folder of ap_int.h: $BFPC_AP_INCLUDE, or what an installed hls4ml carries; empty if there is none."""
    return _folder_with("ap_int.h", "BFPC_AP_INCLUDE", "templates/vivado/ap_types")


def ac_int_headers() -> str:
    """The same of ac_int.h, by $BFPC_AC_INCLUDE."""
    return _folder_with("ac_int.h", "BFPC_AC_INCLUDE", "templates/quartus/ac_types")


def _folder_with(header: str, variable: str, carried: str) -> str:
    spec = importlib.util.find_spec("hls4ml")
    installed = Path(spec.origin).parent / carried if spec and spec.origin else Path()
    folder = os.environ.get(variable, str(installed))
    return folder if (Path(folder) / header).exists() else ""


with_ap_int = pytest.mark.skipif(
    not ap_int_headers(), reason="no ap_int headers: set BFPC_AP_INCLUDE or install hls4ml"
)
with_ac_int = pytest.mark.skipif(
    not ac_int_headers(), reason="no ac_int headers: set BFPC_AC_INCLUDE or install hls4ml"
)
