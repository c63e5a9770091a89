"""Results kept as JSON, one record a line, so that a difference shows what changed; digests of what they are of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def digest(content: bytes) -> str:
    """Of a config, or a model."""
    return hashlib.sha256(content).hexdigest()[:16]


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")
