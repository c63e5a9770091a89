"""Plain rounding: what the means against quantization noise are compared with."""

from __future__ import annotations

from bfpc.config import Config


def plain(config: Config) -> Config:
    """The formats of a preset for all layers and the input alike, signs within, and no passes that make up for them."""
    document = config.without_passes().model_dump(mode="json") | {"overrides": []}
    document["formats"].pop("input", None)
    document["formats"]["activation"].pop("extra_sign_bit", None)
    return Config.model_validate(document)
