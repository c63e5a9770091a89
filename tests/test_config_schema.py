"""The schema takes what the config takes, refuses what it refuses, and describes every key."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from bfpc.cli import main
from bfpc.config import Config
from bfpc.config_file import PRESETS, preset_names
from bfpc.config_schema import config_schema
from docs.generate import DOCS

SCHEMA = config_schema()


def faults(text: str) -> list[str]:
    """Where a config breaks the schema."""
    validator = jsonschema.Draft7Validator(SCHEMA)
    return [error.json_path for error in validator.iter_errors(yaml.safe_load(text))]


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "path", [*PRESETS.glob("*.yaml"), *(DOCS.parent / "examples").glob("*.yaml")], ids=lambda path: str(path.stem)
)
def test_presets_and_examples_keep_to_it(path: Any) -> None:
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("fromats: {}", "$"),
        ("formats: {activation: {mantisa_bits: 8}}", "$.formats.activation"),
        ("formats: {weight: {mantissa_bits: 13}}", "$.formats.weight.mantissa_bits"),
        ("formats: {weight: {block_size: 12}}", "$.formats.weight.block_size"),
        ("architecture: {c_vec: automatic}", "$.architecture.c_vec"),
        ("architecture: {multipliers: DSP}", "$.architecture.multipliers"),
        ("preprocessing: {std: [0]}", "$.preprocessing.std[0]"),
        ("preprocessing: {crop: [224]}", "$.preprocessing.crop"),
        ("overrides: [{position: middle}]", "$.overrides[0].position"),
        ("search: {weight_bits: [1]}", "$.search.weight_bits[0]"),
        ("extends: 8", "$.extends"),
    ],
)
def test_a_fault_is_found_where_it_stands(text: str, place: str) -> None:
    assert place in faults(text)
    with pytest.raises(ValueError, match="validation error"):
        Config.model_validate(yaml.safe_load(text), strict=False)


def test_every_key_is_described() -> None:
    for name, section in {**SCHEMA["$defs"], "Config": SCHEMA}.items():
        for key, field in section["properties"].items():
            described = SCHEMA["$defs"][field["$ref"].split("/")[-1]] if "$ref" in field else field
            told = described.get("description") or described.get("anyOf")
            assert told, f"{name}.{key}"
            assert not str(told).startswith("None:"), f"{name}.{key} has no title"


def test_presets_are_offered() -> None:
    assert SCHEMA["properties"]["extends"]["anyOf"][0]["enum"] == preset_names()


def test_the_command_prints_it() -> None:
    printed = CliRunner().invoke(main, ["schema"]).stdout
    assert printed == (DOCS / "config.schema.json").read_text()
    assert CliRunner().invoke(main, ["schema", "--json"]).stdout == printed
