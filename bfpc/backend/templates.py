"""How templates are filled in: every value must be given, and directives leave no blank lines."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined


def template_environment(
    folder: str, *, markup: bool = False, shown: Callable[[object], object] | None = None
) -> Environment:
    """The templates of a folder of `templates/`.

    markup: whether values are escaped for XML. shown: what takes the place of a value.
    """
    return Environment(
        loader=PackageLoader("bfpc", f"templates/{folder}"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=markup,
        finalize=shown,
    )
