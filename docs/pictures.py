"""Draws the pictures of these pages with the compiler's own arithmetic: `python -m docs.pictures`, or `make docs`.

What is drawn of a trained network stands in pictures/measured.json; `--measure` takes it anew from ../shared/zoo.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import vl_convert
from numpy.typing import NDArray

from bfpc.numerics.digits import split_digits
from bfpc.numerics.format import BLOCK_SIZES, BfpFormat
from bfpc.numerics.quantize import dequantize, quantize
from bfpc.plotting import BLUE, GREEN, GREY, INK, ORANGE, RED, Chart, styled

FOLDER = Path(__file__).parent / "pictures"
MEASURED = FOLDER / "measured.json"
# In an <img> a picture sees the reader's colour scheme, but not the page's own switch: so it brings its background along.
STYLE = """<style>:root{color:#24292f;background:#fff}\
@media(prefers-color-scheme:dark){:root{color:#d8dbdf;background:#17191c}}</style>"""
Rows = list[dict[str, Any]]
