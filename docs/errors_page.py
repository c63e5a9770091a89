"""The page errors.md: the golden tables of tests/errors, for readers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

TABLES = Path(__file__).parents[1] / "tests" / "golden" / "errors"
PLACES = re.compile(r"^\(bfpc/\S+\.py, .*\)$\n?", re.MULTILINE)

INTRODUCTION = """\
# Errors

Every error that a user can cause says what is wrong, where, and what to do. It fits a screen, has no traceback, and
the command ends with exit code 2. In Python each is a `bfpc.errors.BfpcError` with the attributes `what`, `where` and
`fix`. Any other exception is a bug of bfpc: please report it with its traceback.

A command that fails writes no file. What it would have replaced, such as an earlier build, stays as it was. A search
keeps its measurements, and a training its checkpoints, as a later command goes on from there. No command writes over a
file that it reads, nor a file into a build but its report.

## Files of others

Models, builds, data and checkpoints may be anybody's: bfpc reads them and runs nothing in them.

- A model's tensors lie in its file, or in files of its folder; other paths are refused. Libraries of custom operators
  are never loaded.
- `.npy` and `.npz` files with Python objects, and YAML with tags of Python, are refused. Checkpoints hold tensors and
  plain values only.
- All files of a build are compared with their checksums, by every command, and their contents with each other. Paths
  that lead out of the folder, links among them, are refused.
- `--csim` compiles and runs C++. It does not take it from the build: the sources and the program are made anew from the
  build's network, in a folder for temporary files, and compared with the build's. `make` in `hls/`, by hand, does run
  what lies there.
- A config may name Python functions of your own (`measure.metric`, `measure.detection.decode`). Those named in a
  *build's* config run only with `bfpc verify --trust`; those named by `--metric`, or in a config given by `-c`, run:
  they are your own.

A checksum tells that a file has changed since it was written, not who wrote it.

## What each command may say

In these tables `...` stands for what other libraries or the system say, or for what differs from machine to machine.
They are the golden files of the tests.
"""

TITLES: Mapping[str, str] = {
    "model": "Models",
    "hostile_model": "Models that are broken or hostile",
    "config": "Configs",
    "hostile_config": "Configs that are broken, hostile, or of another network",
    "data": "Data",
    "hostile_data": "Data that are broken or hostile",
    "labels": "Labels",
    "measure": "What accuracy is measured by",
    "functions": "Functions of your own",
    "capacity": "What does not fit the accelerator",
    "build": "Build folders",
    "contents": "Build folders that were changed",
    "session": "Running a build in Python",
    "evaluation": "Evaluation",
    "search": "Search",
    "exploration": "Exploration",
    "training": "Training",
    "surroundings": "Space, memory, tools and extras",
}


def errors_page(note: str) -> str:
    """note: what the page's first line says of its origin."""
    return "\n".join([note, "", INTRODUCTION, *(line for name in TITLES for line in _section(name))])


def _section(name: str) -> Iterator[str]:
    yield f"### {TITLES[name]}\n"
    for entry in (TABLES / f"{name}.txt").read_text().rstrip().split("\n\n"):
        title, _, said = PLACES.sub("", entry).partition("\n")
        yield f"**{title.removeprefix('# ')}**\n\n```text\n{said.rstrip()}\n```\n"
