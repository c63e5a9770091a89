"""The HLS project as text: the accelerator's templates filled with an architecture and the program's fields."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import PurePosixPath

from jinja2 import Environment, PackageLoader, StrictUndefined

from bfpc.backend.architecture import Architecture
from bfpc.backend.program import HEADER_WORDS, MAGIC, VERSION, Field

SUFFIX = ".j2"


def render(architecture: Architecture, fields: Sequence[Field]) -> dict[str, str]:
    """The files of the folder `hls/`, path to text. `fields` are those of one layer's program record, in order."""
    environment = Environment(
        loader=PackageLoader("bfpc", "templates/hls"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    ends = list(accumulate((field.words for field in fields), initial=0))
    context = {
        "architecture": architecture,
        "fields": fields,
        "offsets": {field.name: start for field, start in zip(fields, ends, strict=False)},
        "layer_words": ends[-1],
        "header_words": HEADER_WORDS,
        "magic": MAGIC,
        "version": VERSION,
    }
    templates = sorted(name for name in environment.list_templates() if PurePosixPath(name).suffix == SUFFIX)
    return {name.removesuffix(SUFFIX): environment.get_template(name).render(context) for name in templates}
