"""Results kept as JSON, one record a line, so that a difference shows what changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")
