"""Fuzzes for as long as it is let: python -m tests.fuzz [--minutes N] [--target NAME] [--seed FIRST]

Cases run in processes that are replaced when one ends by itself, as where a library aborts. What must not happen is
printed with its seed; `--seed SEED --minutes 0` runs just that case again, with its traceback.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.fuzz.targets import TARGETS, fuzz

MEMORY = 12 << 30  # bytes, of addresses


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5, help="for each target")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--progress", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    targets = [options.target] if options.target else list(TARGETS)
    if options.progress or not options.minutes:
        return _run(targets[0], options.seed, options.minutes, options.progress)
    return max([_supervise(target, options.seed, options.minutes) for target in targets])


def _supervise(target: str, seed: int, minutes: float) -> int:
    """Runs a target in processes, one after another; 1 where something happened that must not."""
    end, failed = time.monotonic() + 60 * minutes, False
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder) / "seed"
        while (left := end - time.monotonic()) > 0:
            arguments = (
                "--target",
                target,
                "--seed",
                str(seed),
                "--minutes",
                str(left / 60),
                "--progress",
                str(progress),
            )
            code = subprocess.run([sys.executable, "-m", "tests.fuzz", *arguments], check=False).returncode
            failed |= code != 0
            if code >= 0:
                break
            seed = int(progress.read_text())
            print(f"{target} {seed}: the process ended with {code}", flush=True)
            seed += 1
    return int(failed)


def _run(target: str, seed: int, minutes: float, progress: Path | None) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    end, found, first = time.monotonic() + 60 * minutes, Counter[str](), seed
    while True:
        if progress is not None:
            progress.write_text(str(seed))
        with tempfile.TemporaryDirectory() as folder:
            try:
                found["read" if fuzz(target, seed, Path(folder)) is None else "refused"] += 1
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{type(error).__name__} in {place.filename}:{place.lineno}"
                if not found[kind]:
                    print(f"{target} {seed}: {kind}: {str(error)[:300]}", flush=True)
                    if not minutes:
                        traceback.print_exc()
                found[kind] += 1
        seed += 1
        if time.monotonic() >= end:
            break
    print(f"{target} {first} to {seed - 1}: {dict(found)}", flush=True)
    return int(len(found.keys() - {"read", "refused"}) > 0)


if __name__ == "__main__":
    sys.exit(main())
