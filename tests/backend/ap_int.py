"""The arbitrary-precision headers, which are not part of this repository."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest


def ap_int_headers() -> str:
    """The folder of the arbitrary-precision headers: $BFPC_AP_INCLUDE, or those that an installed hls4ml carries."""
    spec = importlib.util.find_spec("hls4ml")
    carried = Path(spec.origin).parent / "templates/vivado/ap_types" if spec and spec.origin else Path()
    folder = os.environ.get("BFPC_AP_INCLUDE", str(carried))
    return folder if (Path(folder) / "ap_int.h").exists() else ""


with_ap_int = pytest.mark.skipif(
    not ap_int_headers(), reason="no ap_int headers: set BFPC_AP_INCLUDE or install hls4ml"
)
