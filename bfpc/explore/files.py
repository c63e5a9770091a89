"""An exploration whose results are files: the architecture as a config, and beside it the front."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bfpc.errors import BuildError
from bfpc.explore.explore import Exploration
from bfpc.explore.front import architecture_yaml, draw_front, exploration_document, exploration_json
from bfpc.output_file import write_file


def write_exploration(found: Exploration, config: str, output: Path) -> tuple[str, ...]:
    """Writes `output`, and beside `architecture.yaml` the files `architecture.front.json` and `architecture.front.svg`.

    config: what the written one extends. Returns warnings: without the extra `plots` there is no picture.
    """
    write_file(output, architecture_yaml(found, config, output.parent).encode())
    write_file(output.with_suffix(".front.json"), exploration_json(found).encode())
    try:
        write_file(output.with_suffix(".front.svg"), draw_front(found))
    except BuildError as error:
        return (str(error),)
    return ()


def written_json(found: Exploration, output: Path, warnings: Sequence[str]) -> str:
    """The object that `bfpc explore --json` prints: the front, the file that was written, and warnings."""
    document = {"file": str(output), **exploration_document(found), "warnings": warnings}
    return json.dumps(document, indent=2, allow_nan=False)
