"""The JSON schema of the config: editors complete and check a config by it."""

from __future__ import annotations

import json
from typing import Any

from bfpc.config import Config
from bfpc.config_file import preset_names

DIALECT = "https://json-schema.org/draft/2020-12/schema"
EXTENDS = {
    "title": "Extends",
    "description": "the config beneath this one: a preset, or another file's path",
    "anyOf": [{"enum": preset_names()}, {"type": "string"}],
}


def config_schema() -> dict[str, Any]:
    """Of what a file may hold: the sections of `Config`, and `extends`."""
    schema = Config.model_json_schema()
    properties = {"extends": EXTENDS, **schema.pop("properties")}
    return {"$schema": DIALECT, "title": "A config of bfpc", **schema, "properties": properties}


def schema_text() -> str:
    """The schema as a file."""
    return json.dumps(config_schema(), indent=2) + "\n"
