"""The commands, one a file: each parses, calls the library and prints.

The library is imported by the command that needs it: onnxruntime alone would make `bfpc --help` wait.
"""
