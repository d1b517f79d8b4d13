"""Changes to an input that leave it nearly a batch: whole members, items, lines and headers rather than bytes, which few parsers let get far."""

import json
import re
from random import Random
from typing import Any

from tests.soak.seeds import HEADERS, ITEM_HEADERS, LINES, METHODS, TOGETHER

_ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    2**63,
    "",
    "/",
    "$0",
    "$1/a",
    "{result=a:$.b}",
    "\x00",
    "\ud7ff",
    "é" * 3,
    "a" * 300,
    [],
    {},
    [[]],
    "1",
    "/a?b#c",
    "//x",
]
_JSON = re.compile(rb"\s*[\[{]")


def mutated(data: bytes, chance: Random) -> bytes:
    """*data* with something of it changed."""
    head, blank, body = data.partition(b"\n\n")
    if chance.random() < 0.25 or not body:
        return _head(head, chance) + (blank or b"\n\n") + body
    if _JSON.match(body):
        return head + blank + _json(body, chance)
    return head + blank + _lines(body, chance)


def mixed(data: bytes, other: bytes, chance: Random) -> bytes:
    """*data* with something of *other*: one of its items, or what an item of it says in some member, such as its headers; or its head."""
    head, blank, body = data.partition(b"\n\n")
    theirs, _, batch = other.partition(b"\n\n")
    if chance.random() < 0.2:
        return theirs + blank + body
    try:
        value = json.loads(body)
        mine, others = _items(value), _items(json.loads(batch))
    except (ValueError, RecursionError):
        return head + blank + _spliced(body, batch, chance)
    if not mine or not others:
        return head + blank + body
    place, item = chance.randrange(len(mine)), chance.choice(others)
    if chance.random() < 0.5 and isinstance(mine[place], dict):
        taken = chance.sample(list(item), min(len(item), chance.randint(1, 2)))
        mine[place] = mine[place] | {name: item[name] for name in taken}
    else:
        mine.insert(place, item)
    return head + blank + json.dumps(value).encode()


def restated(data: bytes, chance: Random) -> bytes:
    """*data* with other methods and further headers of most of its items, each of which a decoder may have a rule of its own for."""
    head, blank, body = data.partition(b"\n\n")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return mutated(data, chance)
    for item in _items(value):
        for _ in range(chance.randrange(4)):
            item |= _said(item, chance)
    return head + blank + json.dumps(value).encode()


def _items(value: Any) -> list[Any]:
    """The first list of objects in *value*, be it *value* itself or a member of it; an empty one where there is none."""
    lists = [value, *(value.values() if isinstance(value, dict) else ())]
    return next((found for found in lists if isinstance(found, list) and found and all(isinstance(item, dict) for item in found)), [])


def _spliced(text: bytes, other: bytes, chance: Random) -> bytes:
    """Some lines of *other* between those of *text*."""
    lines, others = text.split(b"\n"), other.split(b"\n")
    place, start = chance.randrange(len(lines)), chance.randrange(len(others))
    lines[place:place] = others[start : start + chance.randint(1, 8)]
    return b"\n".join(lines)


def _head(head: bytes, chance: Random) -> bytes:
    line, *fields = head.split(b"\n")
    match chance.randrange(4):
        case 0:
            _, space, word = line.partition(b" ")
            line = chance.choice(LINES) + space + word
        case 1 if fields:
            del fields[chance.randrange(len(fields))]
        case 2 if fields:
            name, _, value = chance.choice(fields).partition(b":")
            fields.append(name + b":" + (value[: len(value) // 2] + value if chance.random() < 0.5 else value.swapcase()))
        case _:
            added = [chance.choice(HEADERS)] if chance.random() < 0.5 else chance.choice(TOGETHER)
            fields += [": ".join(field).encode("latin-1") for field in added]
    return b"\n".join([line, *fields])


def _json(text: bytes, chance: Random) -> bytes:
    try:
        value = json.loads(text)
        for _ in range(chance.choice((1, 1, 2, 4))):
            value = _changed(value, chance)
        return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode()
    except (ValueError, RecursionError):
        return _lines(text, chance)


def _changed(value: Any, chance: Random) -> Any:
    """*value* with one node of it changed."""
    if isinstance(value, dict) and value:
        name = chance.choice(list(value))
        match chance.randrange(10):
            case 0:
                return {key: member for key, member in value.items() if key != name}
            case 1:
                other = chance.choice(list(value))
                return value | {name: value[other], other: value[name]}
            case 2:
                return value | {str(_changed(name, chance)): value[name]}
            case 3 | 4 if _is_item(value):
                return value | _said(value, chance)
            case _:
                return value | {name: _changed(value[name], chance)}
    if isinstance(value, list) and value:
        place = chance.randrange(len(value))
        match chance.randrange(10):
            case 0:
                return value[:place] + value[place + 1 :]
            case 1 if len(value) < 30:
                return value[:place] + value[place:] * 2
            case 2:
                return [*value[place:], *value[:place]]
            case _:
                return [*value[:place], _changed(value[place], chance), *value[place + 1 :]]
    if isinstance(value, str) and value and chance.random() < 0.6:
        place = chance.randrange(len(value))
        any_character = chr(chance.randrange(0x20, 0x7F))
        piece = (
            any_character
            if chance.random() < 0.4
            else chance.choice(("", value[place:] * 2, "$1", "/", "?", "\r\n", "%41", "%00", ":", "}", "\x7f", "ü", "0", "{", "=", "@"))
        )
        return value[:place] + piece + value[place + chance.randrange(2) :]
    alike = [odd for odd in _ODD if type(odd) is type(value)] if chance.random() < 0.7 else []
    return chance.choice(alike or _ODD)


def _is_item(value: dict[str, Any]) -> bool:
    return any(name.lower() in ("method", "headers", "url", "path", "relative_url") for name in value)


def _said(item: dict[str, Any], chance: Random) -> dict[str, Any]:
    """Another method of *item*, or one more header, in one of the two ways that dialects have for them."""
    if chance.random() < 0.4:
        return {next((name for name in item if name.lower() == "method"), "method"): chance.choice(METHODS)}
    name, value = chance.choice(ITEM_HEADERS)
    headers = item.get("headers")
    if isinstance(headers, list):
        listed = isinstance(next(iter(headers), None), dict)
        return {"headers": [*headers, {"name": name, "value": value} if listed else f"{name}: {value}"]}
    return {"headers": {**(headers if isinstance(headers, dict) else {}), name: value}}


def _lines(text: bytes, chance: Random) -> bytes:
    lines = text.split(b"\n")
    place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(6):
        case 0:
            del lines[place]
        case 1:
            lines.insert(other, lines[place])
        case 2:
            lines[place], lines[other] = lines[other], lines[place]
        case 3:
            low, high = sorted((place, other))
            lines[high:high] = lines[low:high]
        case 4:
            lines[place] = lines[place].removesuffix(b"\r")
        case _:
            lines[place] = _json(lines[place], chance) if _JSON.match(lines[place]) else lines[other][: len(lines[other]) // 2] + lines[place]
    return b"\n".join(lines)
