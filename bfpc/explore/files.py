"""An exploration whose results are files: the architecture as a config, and beside it the front."""

from __future__ import annotations

from pathlib import Path

from bfpc.errors import BuildError
from bfpc.explore.explore import Exploration
from bfpc.explore.front import architecture_yaml, draw_front, exploration_json
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
