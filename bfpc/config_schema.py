"""The JSON schema of the config: editors complete and check a config by it."""

from __future__ import annotations

import json
from typing import Any

from bfpc.config import Config
from bfpc.config_file import preset_names

DIALECT = "http://json-schema.org/draft-07/schema#"  # newer ones are not known to every editor
EXTENDS = {
    "description": "the config beneath this one: a preset, or another file's path",
    "anyOf": [{"enum": preset_names()}, {"type": "string"}],
}


def config_schema() -> dict[str, Any]:
    """Of what a file may hold: the sections of `Config`, and `extends`."""
    schema = _in_dialect(Config.model_json_schema())
    for section in (schema, *schema["$defs"].values()):
        section["properties"] = {key: _described(field) for key, field in section["properties"].items()}
    properties = {"extends": EXTENDS, **schema["properties"]}
    return {**schema, "$schema": DIALECT, "title": "A config of bfpc", "properties": properties}


def _in_dialect(schema: Any) -> Any:
    """Lists of a fixed length, all of one kind here, as an older dialect writes them."""
    if isinstance(schema, list):
        return [_in_dialect(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: _in_dialect(value) for key, value in schema.items()}
    if "prefixItems" in converted:
        items = converted.pop("prefixItems")
        assert all(item == items[0] for item in items), "a list of several kinds"
        converted["items"] = items[0]
    return converted


def _described(field: dict[str, Any]) -> dict[str, Any]:
    """A key whose description says what it is, then what it may hold; a section has its own."""
    if "description" not in field:
        return field
    title, rest = field["title"], {key: value for key, value in field.items() if key != "title"}
    return {**rest, "description": f"{title}: {field['description']}"}


def schema_text() -> str:
    """The schema as a file."""
    return json.dumps(config_schema(), indent=2) + "\n"
