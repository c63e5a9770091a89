"""bfpc compiles ONNX networks to block floating point, for an accelerator that it generates as HLS C++."""

__version__ = "0.1.0"
