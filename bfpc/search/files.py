"""A search whose results are files: the config, and beside it the front and the measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bfpc.config import Config
from bfpc.errors import BuildError
from bfpc.jobs import Engine
from bfpc.output_file import check_writable, write_file
from bfpc.progress import Progress, silent
from bfpc.search.front import draw_front
from bfpc.search.search import Chosen, Data, search


def search_to_files(
    model: Path,
    config: Config,
    data: Data,
    engine: Engine,
    output: Path,
    *,
    resume: bool = False,
    progress: Progress = silent,
) -> Chosen:
    """Writes `output`, and beside `chosen.yaml` the files `chosen.front.json`, `chosen.front.svg` and
    `chosen.sensitivity.jsonl`; without the extra `plots` a warning instead of the picture.
    """
    check_writable(output, [model])
    state = output.with_suffix(".sensitivity.jsonl")
    chosen = search(model, config, data, engine, state_file=state, resume=resume, progress=progress)
    write_file(output, chosen.text.encode())
    write_file(output.with_suffix(".front.json"), chosen.front.to_json().encode())
    try:
        write_file(output.with_suffix(".front.svg"), draw_front(chosen.front))
    except BuildError as error:
        return replace(chosen, warnings=(*chosen.warnings, str(error)))
    return chosen
