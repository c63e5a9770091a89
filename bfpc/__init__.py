"""bfpc compiles ONNX networks to block floating point, for an accelerator that it generates as HLS C++.

`bfpc.load("build")` is a build made ready to run, as a `bfpc.Session`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bfpc.runtime.session import Session, load

__version__ = "0.1.0"
__all__ = ["Session", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Session and load, imported when they are asked for: `import bfpc` alone stays light."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bfpc.runtime import session

    return getattr(session, name)
