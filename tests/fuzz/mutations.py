"""Files with something wrong in them: bytes, and the values of JSON, YAML and protobuf."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

HOSTILE_NUMBERS = (0, -1, 1, 2, 3, 255, 1 << 15, 1 << 31, -(1 << 31), 1 << 40, (1 << 63) - 1, -(1 << 63))
HOSTILE_STRINGS = (
    *("", "x", "input0", "conv0", "\0", "é\u2028", "\x1b[31m", "../../etc/passwd", "/etc/passwd", ".", "a" * 5000),
    *("%s%n{0}", "os:system", '"', "\\", "nan", "1e999", "../manifest.json", "weights.bin", "hls/Makefile"),
)
HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, False, [], {}, [[]], {"": 0}, 0.5, -0.0, 1e308, float("inf"), float("nan"), 10**400),
    *HOSTILE_NUMBERS,
    *HOSTILE_STRINGS,
)
YAML_PIECES = (
    *(
        "{",
        "[",
        "}",
        "]",
        ":",
        "- ",
        "\t",
        "&a ",
        "*a",
        "!!python/object/apply:os.system ['true']",
        "<<: ",
        "? ",
        "---\n",
    ),
    *(
        "!!int ",
        "!!binary ",
        "!!timestamp ",
        "2001-99-99",
        "1_000",
        "0x",
        ".nan",
        "~",
        "'",
        '"',
        "%YAML 9.9\n",
        "| \n",
        "#",
    ),
    *("extends: ./config.yaml\n", "extends: [int8]\n", "9" * 5000, "[" * 2000, "{a: " * 200, "\0", "\ufeff", "\ud800"),
)


def mutate_bytes(random: Random, content: bytes) -> bytes:
    """The content cut off, or with bytes changed, inserted, repeated or removed."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        place, length = random.randrange(len(changed) + 1), random.choice((1, 1, 4, 100))
        match random.randrange(6):
            case 0:
                del changed[place:]
            case 1 if place < len(changed):
                changed[place] ^= 1 << random.randrange(8)
            case 2:
                changed[place : place + length] = random.randbytes(length)
            case 3:
                changed[place:place] = random.randbytes(length)
            case 4:
                changed[place:place] = changed[place : place + length]
            case 5:
                del changed[place : place + length]
    return bytes(changed)


def mutate_value(random: Random, value: Any) -> Any:
    """A JSON value with some of what it holds replaced, removed, repeated or renamed."""
    changed = [copy.deepcopy(value)]
    for _ in range(random.choice((1, 1, 2, 4))):
        holder, key = random.choice(list(_places(changed)))
        match random.randrange(5):
            case 0 | 1:
                holder[key] = copy.deepcopy(random.choice(HOSTILE_VALUES))
            case 2 if holder is not changed:
                del holder[key]
            case 3:
                other, there = random.choice(list(_places(changed)))
                holder[key] = copy.deepcopy(other[there])
            case 4 if isinstance(holder, dict):
                holder[random.choice(HOSTILE_STRINGS)] = holder.pop(key)
            case 4:
                holder.append(copy.deepcopy(holder[key]))
        if not changed:
            return None
    return changed[0]


def mutate_json(random: Random, content: bytes) -> bytes:
    return json.dumps(mutate_value(random, json.loads(content))).encode()


def mutate_yaml(random: Random, text: str) -> bytes:
    """The text with pieces of YAML in wrong places, or with bytes changed."""
    for _ in range(random.choice((0, 1, 1, 3))):
        place = random.randrange(len(text) + 1)
        text = text[:place] + random.choice(YAML_PIECES) + text[place + random.choice((0, 0, 1, 8)) :]
    content = text.encode("utf-8", "surrogatepass")
    return mutate_bytes(random, content) if random.random() < 0.3 else content


def _places(value: Any) -> Any:
    """Everything that a value holds, as (holder, key)."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
