"""The config: presets, merging, which layer gets which format, and every fault with its line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from bfpc.config import Config, load_config
from bfpc.config_file import PRESETS, preset_names
from bfpc.config_sections import ActivationFormat, Formats, Override, Position, Preprocessing
from bfpc.errors import ConfigError

PRESET_WIDTHS = {"int12": (12, 12), "int8": (8, 8), "int6": (6, 6), "int5": (5, 5), "int54": (5, 4), "int4": (4, 4)}


def keys(model: type[BaseModel]) -> list[str]:
    return list(model.model_fields)


def written(folder: Path, text: str, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def fault(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(written(folder, text))
    return str(error.value).replace(f"{folder}/", "")


def test_the_presets_are_the_documented_ones() -> None:
    assert set(preset_names()) == PRESET_WIDTHS.keys() | {"published"}


@pytest.mark.parametrize("name", PRESET_WIDTHS)
def test_a_preset_is_found_by_its_name_with_and_without_suffix(name: str) -> None:
    config = load_config(name)
    assert load_config(f"{name}.yaml") == config
    assert (config.formats.activation.mantissa_bits, config.formats.weight.mantissa_bits) == PRESET_WIDTHS[name]


def test_a_path_names_a_file_even_where_a_preset_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "formats: {weight: {mantissa_bits: 3}}", "int4.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_config("./int4.yaml").formats.weight.mantissa_bits == 3
    assert load_config("int4.yaml").formats.weight.mantissa_bits == 4


def test_an_empty_file_is_the_default_config(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "")) == Config()


def test_extending_merges_mappings_replaces_values_and_appends_overrides(tmp_path: Path) -> None:
    written(
        tmp_path,
        "extends: int54\npreprocessing: {mean: [1, 2, 3]}\noverrides: [{position: first, weight: {mantissa_bits: 8}}]",
        "base.yaml",
    )
    config = load_config(
        written(
            tmp_path,
            "extends: base.yaml\nformats: {weight: {block_size: 32}}\npreprocessing: {mean: [9]}\n"
            "overrides: [{position: last, weight: {mantissa_bits: 9}}]",
        )
    )
    assert (config.formats.weight.mantissa_bits, config.formats.weight.block_size) == (4, 32)
    assert config.preprocessing.mean == (9.0,)
    added = config.overrides[len(load_config("int54").overrides) :]
    assert config.overrides[: -len(added)] == load_config("int54").overrides
    assert [override.position for override in added] == ["first", "last"]


def test_a_config_written_out_reads_back_equal(tmp_path: Path) -> None:
    text = (
        "extends: int4\noverrides: [{name: 'layer1.*', activation: {mantissa_bits: 6}}]\npreprocessing: {crop: [8, 9]}"
    )
    config = load_config(written(tmp_path, text))
    assert load_config(written(tmp_path, config.to_yaml(), "again.yaml")) == config
    assert Config.model_validate(json.loads(config.model_dump_json())) == config


OVERRIDES = """
formats:
  activation: {mantissa_bits: 5, block_size: 32}
  weight: {mantissa_bits: 4}
  depthwise_weight: {mantissa_bits: 8}
  output: {mantissa_bits: 12}
overrides:
  - {name: "layer1.*", activation: {mantissa_bits: 6}}
  - {name: "layer1.*", operator: Depthwise, weight: {mantissa_bits: 9}}
  - {position: first, weight: {mantissa_bits: 7}}
  - {name: "layer1.2", activation: {exponent_range: 2}}
"""


@pytest.mark.parametrize(
    ("name", "operator", "positions", "is_output", "expected"),
    [
        ("other", "Conv", (), False, (5, 7, 4, 8)),
        ("other", "Conv", (), True, (12, 7, 4, 8)),
        ("layer1.1", "Conv", (), False, (6, 7, 4, 8)),
        ("layer1.1", "Conv", (), True, (6, 7, 4, 8)),
        ("layer1.1", "Depthwise", (), False, (6, 7, 9, 9)),
        ("layer1.2", "Depthwise", ("first",), False, (6, 2, 7, 7)),
        ("other", "Conv", ("first", "last"), False, (5, 7, 7, 7)),
    ],
)
def test_overrides_apply_in_order_where_all_their_selectors_match(
    tmp_path: Path,
    name: str,
    operator: str,
    positions: tuple[Position, ...],
    is_output: bool,
    expected: tuple[int, int, int, int],
) -> None:
    formats = load_config(written(tmp_path, OVERRIDES)).layer_formats(name, operator, positions, is_output=is_output)
    activation = formats.activation
    widths = formats.weight.mantissa_bits, formats.depthwise_weight.mantissa_bits
    assert (activation.mantissa_bits, activation.exponent_range, *widths) == expected
    assert activation.block_size == 32


def test_the_input_has_the_format_of_activations_but_for_what_is_given(tmp_path: Path) -> None:
    text = "formats: {activation: {mantissa_bits: 5, block_size: 32}, input: {mantissa_bits: 8}}"
    config = load_config(written(tmp_path, text))
    assert (config.input_format.mantissa_bits, config.input_format.block_size) == (8, 32)
    silent = load_config(written(tmp_path, "formats: {activation: {mantissa_bits: 5}}"))
    assert silent.input_format.mantissa_bits == 5


FAULTS = {
    "formats:\n  weigth: {}": ("mine.yaml:2", "formats.weigth is not a key", "did you mean weight?"),
    "formats:\n  weight:\n    mantisa_bits: 3": ("mine.yaml:3", "mantisa_bits", "did you mean mantissa_bits?"),
    "overides: []": ("mine.yaml:1", "overides", "did you mean overrides?"),
    "extend: int4": ("mine.yaml:1", "did you mean extends?"),
    "formats: {weight: {mantissa_bits: 13}}": ("mantissa_bits is 13", "from 2 to 12"),
    "formats: {weight: {mantissa_bits: '5'}}": ("mantissa_bits is '5'", "from 2 to 12"),
    "formats: {weight: {mantissa_bits: true}}": ("mantissa_bits is True", "from 2 to 12"),
    "formats: {weight: {mantissa_bits: null}}": ("mantissa_bits is None", "from 2 to 12"),
    "formats: {weight: {block_size: 12}}": ("block_size is 12", "one of 4, 8, 16, 32, 64"),
    "formats: {weight: {exponent_range: 32}}": ("exponent_range is 32", "from 0 to 31"),
    "formats: {activation: {unsigned: maybe}}": ("unsigned is 'maybe'", "true or false"),
    "formats: 3": ("formats is 3", "activation, weight"),
    "overrides:\n  - {weight: {mantissa_bits: 3}}": ("mine.yaml:2", "overrides[0] selects no layer", "operator:"),
    "overrides:\n  - {position: frist}": ("overrides[0].position is 'frist'", "did you mean first?"),
    "overrides:\n\n  - {operator: conv}": ("mine.yaml:3", "did you mean Conv?"),
    "overrides: {name: a}": ("overrides is {'name': 'a'}", "a list of overrides"),
    "calibration: {images: 0}": ("calibration.images is 0", "from 1 to 1000000"),
    "preprocessing: {std: [1, 0]}": ("preprocessing.std is [1, 0]", "at least 1e-06"),
    "preprocessing: {divide: .nan}": ("preprocessing.divide is nan", "at least 1e-06"),
    "preprocessing: {crop: 224}": ("preprocessing.crop is 224", "[height, width]"),
    "preprocessing: {channels: bgr}": ("preprocessing.channels is 'bgr'", "RGB or BGR"),
    "verify: {min_top1_agreement: 95}": ("min_top1_agreement is 95", "fraction from 0 to 1"),
    "architecture: {k_vec: 12}": ("architecture.k_vec is 12", "auto or one of 4, 8, 16"),
    "architecture: {c_vec: outo}": ("architecture.c_vec is 'outo'", "did you mean auto?"),
    "architecture:\n  k_vec: 8": ("mine.yaml:2", "architecture.k_vec does not fit", "at least 16"),
    "architecture: {c_vec: 8}": ("architecture.c_vec does not fit", "at least 16"),
    "architecture: {c_vec: 32, k_vec: 64}": ("architecture.c_vec does not fit", "at least 64"),
    "architecture: {block: 32}": ("architecture.block does not fit", "at most 16"),
    "a: 1\nb: 2\na: 3": ("mine.yaml:3", "a stands twice", "line 1"),
    "formats:\n  weight: {": ("mine.yaml:2", "not valid YAML"),
    "x: \x01": ("not valid YAML",),
    "a: &a [*a]": ("mine.yaml:1", "alias"),
    "- a": ("mine.yaml:1", "a mapping of keys"),
    "extends: int55": ("mine.yaml:1", "did you mean int5", "int12, int4, int5"),
    "extends: [int4]": ("mine.yaml:1", "extends: names one preset or file"),
    "extends: mine.yaml": ("mine.yaml:1", "extends itself"),
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_is_named_with_its_line_and_the_way_out(tmp_path: Path, text: str) -> None:
    message = fault(tmp_path, text)
    for part in FAULTS[text]:
        assert part in message


def test_several_faults_are_listed_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    message = fault(tmp_path, "architecture: {k_vec: 3}\nformats:\n  weight: {block_size: 3}\nverify: 1")
    assert "3 faults" in message
    positions = [message.index(f"mine.yaml:{line}") for line in (1, 3, 4)]
    assert positions == sorted(positions)


def test_a_fault_in_an_extended_file_is_placed_in_that_file(tmp_path: Path) -> None:
    written(tmp_path, "\n\nformats: {weight: {mantissa_bits: 99}}", "base.yaml")
    assert "base.yaml:3" in fault(tmp_path, "extends: base.yaml")


@pytest.mark.parametrize(
    ("source", "expected"), [("int44", "did you mean int4?"), ("./none.yaml", "presets are int12"), (".", "directory")]
)
def test_a_config_that_is_not_there(source: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)):
        load_config(source)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file"):
        load_config(str(tmp_path / "model.yaml"))


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_plain_yaml_without_extends(name: str) -> None:
    """So that a copy of a preset's file is a config of its own."""
    text = (PRESETS / f"{name}.yaml").read_text()
    assert "extends" not in yaml.safe_load(text)
    assert yaml.safe_load(load_config(name).to_yaml()) == yaml.safe_load(text)


@pytest.mark.parametrize("name", ["int8", "int6", "int5", "int54", "int4"])
def test_a_preset_has_an_array_of_its_own_width(name: str) -> None:
    """Only what is wider than most of the network takes several passes."""
    formats, architecture = load_config(name).formats, load_config(name).architecture
    assert architecture.activation_bits == formats.activation.mantissa_bits  # unsigned: all of them are magnitude
    assert architecture.weight_bits == formats.weight.mantissa_bits - 1


def config_or_message(source: str) -> Config | str:
    try:
        return load_config(source)
    except ConfigError as error:
        return str(error)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 300),
    st.floats(),
    st.sampled_from(["auto", "first", "Conv", "", "int4", "x"]),
)
KEYS = st.sampled_from(
    [key for model in (Config, Formats, ActivationFormat, Override, Preprocessing) for key in keys(model)]
)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


@given(st.dictionaries(KEYS, TREES, max_size=4) | TREES)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_it_is_a_config_or_a_config_error_with_its_place(tmp_path: Path, tree: object) -> None:
    found = config_or_message(written(tmp_path, yaml.safe_dump(tree)))
    if isinstance(found, Config):
        assert load_config(written(tmp_path, found.to_yaml(), "again.yaml")) == found
    else:
        assert "mine.yaml:" in found
        assert "fix: " in found
