"""Writes the report of a build anew, and compares two builds.

python examples/compare_builds.py build other_build
"""

from __future__ import annotations

import sys
from pathlib import Path

from bfpc.report.diff import diff_builds
from bfpc.report.octaves import MapOctaves
from bfpc.report.page import report_verified
from bfpc.verify import verify


def main(first: Path, second: Path) -> None:
    maps = MapOctaves()  # watches how large the numbers of maps are
    found = verify(first, count=2, watch=maps.add)
    print(f"written: {report_verified(first, found, maps)}")

    for figure in diff_builds(first, second).figures:
        if figure.first != figure.second:
            print(figure.name, *figure.texts)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
