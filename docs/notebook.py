"""Makes a notebook of a script whose cells begin with `# %%`, and texts with `# %% [markdown]`."""

from __future__ import annotations

import json
from typing import Any

CELL, MARKDOWN = "# %%", " [markdown]"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook(script: str) -> str:
    """The notebook as a file. What stands before the first cell is left out."""
    cells = [_cell(number, text) for number, text in enumerate(script.split(f"\n{CELL}")[1:])]
    document = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _cell(number: int, text: str) -> dict[str, Any]:
    head, _, body = text.partition("\n")
    lines = body.strip().splitlines(keepends=True)
    common = {"id": f"cell{number}", "metadata": {}}
    if head == MARKDOWN:
        text_lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
        return {"cell_type": "markdown", **common, "source": text_lines}
    return {"cell_type": "code", **common, "execution_count": None, "outputs": [], "source": lines}
