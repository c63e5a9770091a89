"""Build folders that are not as bfpc wrote them, with checksums that are right all the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from tests.fuzz.models import CHANGES
from tests.fuzz.mutations import HOSTILE_NUMBERS, HOSTILE_STRINGS, mutate_bytes, mutate_json

MANIFEST = "manifest.json"
NUMBER = re.compile(r"-?\d+")


def mutate_build(random: Random, sound: Path, folder: Path) -> None:
    """Makes `folder` a copy of a sound build with something wrong in it."""
    shutil.copytree(sound, folder)
    for _ in range(random.choice((1, 1, 2))):
        random.choice(list(BUILD_CHANGES.values()))(random, folder)


def change_bytes(random: Random, folder: Path) -> None:
    _rewrite(random, folder, _some_file(random, folder), mutate_bytes)


def change_manifest(random: Random, folder: Path) -> None:
    _rewrite(random, folder, MANIFEST, mutate_json)


def change_schedule(random: Random, folder: Path) -> None:
    _rewrite(random, folder, "schedule.json", mutate_json)


def change_graph(random: Random, folder: Path) -> None:
    """Numbers, and whole lines, of network.ir."""

    def change(random: Random, content: bytes) -> bytes:
        lines = content.decode(errors="replace").splitlines(keepends=True)
        index = random.randrange(len(lines))
        match random.randrange(4):
            case 0:
                del lines[index]
            case 1:
                lines.insert(random.randrange(len(lines)), lines[index])
            case 2 | 3:
                spans = [place.span() for place in NUMBER.finditer(lines[index])] or [(0, 0)]
                start, end = random.choice(spans)
                value = str(random.choice((*HOSTILE_NUMBERS, *HOSTILE_STRINGS, "(" * 300)))
                lines[index] = lines[index][:start] + value + lines[index][end:]
        return "".join(lines).encode(errors="replace")

    _rewrite(random, folder, "network.ir", change)


def change_model(random: Random, folder: Path) -> None:
    """The original network, or a part of it that the host computes."""

    def change(random: Random, content: bytes) -> bytes:
        model = onnx.load_from_string(content)
        random.choice(list(CHANGES.values()))(random, model)
        return bytes(model.SerializeToString())

    _rewrite(random, folder, random.choice(("model.onnx", "host/00.onnx")), change)


def remove_file(random: Random, folder: Path) -> None:
    (folder / _some_file(random, folder)).unlink()


def link_file(random: Random, folder: Path) -> None:
    """A file of the build that lies elsewhere, or is none."""
    path = folder / _some_file(random, folder)
    content = path.read_bytes()
    path.unlink()
    match random.randrange(4):
        case 0:
            path.symlink_to("/etc/passwd")
        case 1:
            path.mkdir()
        case 2:
            os.mkfifo(path)
        case 3:
            elsewhere = folder.parent / "elsewhere"
            elsewhere.write_bytes(content)
            path.symlink_to(elsewhere)


def _some_file(random: Random, folder: Path) -> str:
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    few = [name for name in files if not name.startswith("hls/")]
    return random.choice(few if random.random() < 0.8 else files)


def _rewrite(random: Random, folder: Path, name: str, change: Callable[[Random, bytes], bytes]) -> None:
    """Changes a file, and mostly its checksum, too."""
    path = folder / name
    if not path.is_file():
        return
    try:
        content = change(random, path.read_bytes())
    except (ValueError, TypeError, DecodeError):  # it had been changed before
        return
    path.write_bytes(content)
    if name != MANIFEST and random.random() < 0.95:
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
            manifest["files"][name] = hashlib.sha256(content).hexdigest()
        except (ValueError, TypeError, KeyError, OSError):
            return
        (folder / MANIFEST).write_text(json.dumps(manifest))


BUILD_CHANGES: Mapping[str, Callable[[Random, Path], None]] = {
    change.__name__: change
    for change in (
        *(change_bytes, change_manifest, change_manifest, change_schedule, change_graph, change_model),
        *(remove_file, link_file),
    )
}
