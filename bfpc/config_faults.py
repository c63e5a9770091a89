"""What pydantic finds wrong with a config, in a user's words: where it stands, what is allowed, what was meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bfpc.errors import ConfigError, short
from bfpc.located_yaml import Located

SHOWN_FAULTS = 4

Path = tuple[str | int, ...]


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean X?` for the word of `words` that resembles `word` most, or nothing."""
    matches = get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


def describe(error: ValidationError, config: Located, model: type[BaseModel]) -> ConfigError:
    """One ConfigError for all faults, in the order of the file; `model` is what `config` was validated against."""
    faults: dict[Path, ConfigError] = {}
    for details in error.errors(include_url=False):
        path, field = _resolve(details, model)
        faults.setdefault(path, _fault(details, path, field, config, model))  # a union has one for each alternative
    if len(faults) == 1:
        return faults.popitem()[1]
    paths = sorted(faults, key=lambda path: (config.find(path).file, config.find(path).line))
    lines = [
        f"  {faults[path].where}: {faults[path].what}\n    fix: {faults[path].fix}" for path in paths[:SHOWN_FAULTS]
    ]
    more = [f"  and {len(paths) - SHOWN_FAULTS} more"] if len(paths) > SHOWN_FAULTS else []
    files = dict.fromkeys(faults[path].where.rpartition(":")[0] for path in paths)
    what, fix = "\n".join([f"the config has {len(faults)} faults", *lines, *more]), "change these keys as said"
    return ConfigError(what, where=", ".join(files), fix=fix)


def _fault(
    details: ErrorDetails, path: Path, field: FieldInfo | None, config: Located, model: type[BaseModel]
) -> ConfigError:
    located = config.find(path)
    name, value, context = _dotted(path), located.plain(), details.get("ctx", {})
    if "fix" in context:
        return ConfigError(f"{name} {details['msg']}", where=located.where, fix=str(context["fix"]))
    if details["type"] == "extra_forbidden":
        keys = [*_section(model, path[:-1]).model_fields, *(["extends"] if len(path) == 1 else [])]
        fix = f"allowed are {', '.join(keys)}{nearest(str(path[-1]), keys)}"
        return ConfigError(f"{name} is not a key that bfpc knows", where=located.where, fix=fix)
    if field is None or field.description is None:
        fix = f"give a mapping with keys of {', '.join(_section(model, path).model_fields)}"
        return ConfigError(f"{name} is {short(value)}", where=located.where, fix=fix)
    explains = field.description.startswith("a ")  # else it lists what is allowed
    words = [] if explains else field.description.replace(",", " ").split()
    meant = nearest(value, words) if isinstance(value, str) else ""
    return ConfigError(f"{name} is {short(value)}", where=located.where, fix=f"give {field.description}{meant}")


def _resolve(details: ErrorDetails, model: type[BaseModel]) -> tuple[Path, FieldInfo | None]:
    """The faulty key without pydantic's own steps (which alternative, which item), and its field if it has one."""
    path: Path = ()
    field: FieldInfo | None = None
    section: type[BaseModel] | None = model
    for step in details.get("ctx", {}).get("path") or details["loc"]:
        if section is not None and isinstance(step, str):
            path, field = (*path, step), section.model_fields.get(step)
            section = model_of(field.annotation) if field else None
        elif section is not None:
            path, field = (*path, step), None
        else:
            break
    return path, field


def _section(model: type[BaseModel], path: Path) -> type[BaseModel]:
    for step in path:
        if isinstance(step, str):
            inner = model_of(model.model_fields[step].annotation)
            assert inner is not None
            model = inner
    return model


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as `Formats` or `tuple[Override, ...]` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := model_of(inner))), None)


def _dotted(path: Path) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or ("the config" if not path else "an empty key")
