"""Which YAML a config is: a preset or a file, and beneath it all that it extends.

Mappings are merged key by key and anything else is replaced, except that `overrides` are appended.
"""

from __future__ import annotations

from pathlib import Path

from bfpc.config_faults import nearest
from bfpc.errors import ConfigError
from bfpc.located_yaml import Located, merge, read

PRESETS = Path(__file__).parent / "configs"


def preset_names() -> list[str]:
    """The presets that ship with bfpc."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_config(source: str | Path) -> Located:
    """The mapping that a preset (`int4` or `int4.yaml`) or a file holds. Raises ConfigError where there is none."""
    return _read_extended(_locate_source(source, Path()), ())


def _locate_source(source: str | Path, folder: Path) -> Path:
    """The file that `source` names: a preset, or a path relative to `folder`."""
    name = str(source).removesuffix(".yaml")
    if isinstance(source, str) and name in preset_names():
        return PRESETS / f"{name}.yaml"
    path = folder / source
    if not _exists(path):
        fix = f"presets are {', '.join(preset_names())}{nearest(name, preset_names())}; a file is given by its path"
        raise ConfigError("no such config", where=str(source), fix=fix)
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or no name at all
        return False


def _read_extended(path: Path, above: tuple[Path, ...]) -> Located:
    """The file with all that it extends merged beneath it."""
    located = read(path, path.name if path.parent == PRESETS else str(path))
    if not isinstance(located.content, dict):
        raise ConfigError("a config is a mapping of keys", where=located.where, fix="start with 'extends: int8'")
    own = dict(located.content)
    extends = own.pop("extends", None)
    change = Located(own, located.file, located.line)
    if extends is None:
        return change
    if not isinstance(extends.content, str):
        raise ConfigError("extends: names one preset or file", where=extends.where, fix="write 'extends: int8'")
    try:
        below = _locate_source(extends.content, path.parent)
    except ConfigError as error:
        raise ConfigError(f"extends: {extends.content}: {error.what}", where=extends.where, fix=error.fix) from None
    if below.resolve() in (*above, path.resolve()):
        raise ConfigError("a config extends itself", where=extends.where, fix="remove one of the extends:")
    return _merge_configs(_read_extended(below, (*above, path.resolve())), change)


def _merge_configs(base: Located, change: Located) -> Located:
    merged = merge(base, change)
    lists = [config.find(["overrides"]).content for config in (base, change)]
    if all(isinstance(overrides, list) for overrides in lists):
        assert isinstance(merged.content, dict)
        own = merged.content["overrides"]
        together = [override for overrides in lists if isinstance(overrides, list) for override in overrides]
        merged.content["overrides"] = Located(together, own.file, own.line)
    return merged
