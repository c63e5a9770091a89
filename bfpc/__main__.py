"""`python -m bfpc`: what launchers of Python modules, such as torchrun, start."""

from bfpc.cli import main

main(prog_name="bfpc")
