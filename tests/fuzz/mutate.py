"""Damage to good files, as editors, copies, other programs and other people do it; the same seed, the same damage."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

#: what stands where a number or a word should
ODD = (
    "nan", "inf", "-1e309", "1e-99999999", "1e99999999", "99999999999999999999", "9" * 400, "1" * 6000, "0", "-0", "-1",
    "1e9", "1000000000000", "0.0", "1_000", "0x10", "1,5", "None", "null", "true", "True", "~", "", " ", "\x00", "é",
    "\ufeff", "\u2028", '"', "'", "{{}}", "{}", "[]", '[1,2,"x"]', "[" * 3000, "{[1]: 2}", "../../x", "/dev/zero",
    "=1+1", "#", ":", ",", "\t", "${oc.env:HOME}", "!!python/object:os.system", "lambda", "a" * 20000, "😀", "²", "٣",
)  # fmt: skip
_WORD, _NUMBER = re.compile(rb"[^\s,:#/]+"), re.compile(rb"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")


def text(content: bytes, rng: random.Random) -> bytes:
    """One to three pieces of damage to a text file."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(_TEXT)(content, rng)
    return content


def binary(content: bytes, rng: random.Random) -> bytes:
    """One to three pieces of damage to any file."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = rng.choice(_BYTES)(content, rng)
    return content


def document(content: bytes, rng: random.Random) -> bytes:
    """A JSON document with other values, without some of them, with more, or damaged as text."""
    if rng.random() < 0.35:
        return text(content, rng)
    root = json.loads(content)
    for _ in range(rng.choice((1, 1, 2))):
        root = _changed(root, rng)
    return json.dumps(root).encode()


def arrays(content: bytes, rng: random.Random) -> bytes:
    """An ``.npz`` with other arrays, other entries, or damaged bytes."""
    if rng.random() < 0.5:
        return binary(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(entries))
    entries[name] = rng.choice(_ENTRIES)(entries[name], rng)
    if rng.random() < 0.2:
        entries.pop(rng.choice(sorted(entries)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))) as made:
        for key, value in entries.items():
            made.writestr(key, value)
    return buffer.getvalue()


# -- text ----------------------------------------------------------------------------------------------------------
def _odd(content: bytes, rng: random.Random, pattern: re.Pattern[bytes] = _WORD) -> bytes:
    places = [match.span() for match in pattern.finditer(content[:200_000])]
    if not places:
        return content + rng.choice(ODD).encode()
    start, stop = rng.choice(places)
    return content[:start] + rng.choice(ODD).encode("utf-8", "surrogatepass") + content[stop:]


def _odd_number(content: bytes, rng: random.Random) -> bytes:
    return _odd(content, rng, _NUMBER)


def _lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    change = rng.randrange(6)
    if change == 0:
        del lines[first]
    elif change == 1:
        lines[first : first + 1] = [lines[first]] * rng.choice((2, 2, 50))
    elif change == 2:
        lines[first], lines[second] = lines[second], lines[first]
    elif change == 3:
        lines[first] += rng.choice((b"", b" ", b"\t")) + lines[second]
    elif change == 4:
        lines.insert(first, b"")
    else:
        return rng.choice((b"\r\n", b"\r", b"\t", b"", b" ")).join(lines)
    return b"\n".join(lines)


def _encoding(content: bytes, rng: random.Random) -> bytes:
    plain = content.decode("utf-8", "replace")
    return rng.choice((
        b"\xef\xbb\xbf" + content, plain.encode("utf-16"), b"\xff\xfe" + plain.encode("utf-16-be"),
        plain.encode("utf-16-le"), plain.encode("utf-32"), plain.replace("a", "ä").encode("latin-1", "replace"),
    ))  # fmt: skip


# -- bytes ---------------------------------------------------------------------------------------------------------
def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 16))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _flip_end(content: bytes, rng: random.Random) -> bytes:
    """Within the last 700 bytes: the list of entries of an archive."""
    return content[:-700] + _flip(content[-700:], rng)


def _cut(content: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return rng.choice((content[:start], content[start:], content[:start] + content[stop:], b""))


def _double(content: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:stop] + content[start:stop] + content[stop:]


def _insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.choice((bytes(64), rng.randbytes(8), b"\n" * 100)) + content[place:]


_BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flip, _flip, _flip_end, _cut, _double, _insert)
_TEXT = (_odd, _odd, _odd_number, _odd_number, _lines, _lines, _encoding, _flip, _cut, _double, _insert)


# -- JSON ----------------------------------------------------------------------------------------------------------
def _changed(root: Any, rng: random.Random) -> Any:
    """``root`` with one value replaced, removed, renamed or added."""
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            collect(node[key])

    collect(root)
    if not places or rng.random() < 0.05:
        return rng.choice(_VALUES)
    node, key = rng.choice(places)
    change = rng.randrange(8)
    if change == 0:
        del node[key]
    elif change == 1 and isinstance(node, dict):
        node[rng.choice(ODD)] = node.pop(key)
    elif change == 2 and isinstance(node, dict):
        node[rng.choice(ODD)] = rng.choice(_VALUES)
    else:
        node[key] = rng.choice(_VALUES)
    return root


_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 10**9, 10**30, 0.5, -0.5, 1e308, float("nan"), float("inf"), "", "x", "3",
    "a" * 5000, "../../x", [], {}, [1, 2, "x"], {"x": 1}, [[]], [None], {"a": {"b": {"c": [1]}}}, "null",
)  # fmt: skip


# -- arrays --------------------------------------------------------------------------------------------------------
def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _claim(entry: bytes, rng: random.Random) -> bytes:
    """A header that claims more than is there."""
    shape = rng.choice((b"(1000000000000, 63)", b"(1, -5)", b"(2, 3, 4)", b"()", b"(" + b"1," * 40 + b")"))
    body = re.sub(rb"\([^)]*\), }", shape + b", }", entry, count=1)
    return body


def _other(_: bytes, rng: random.Random) -> bytes:
    return _npy(rng.choice((
        np.array(["a", 1, None], dtype=object), np.array(object()), np.zeros(0), np.zeros((3, 3)), np.zeros(3, complex),
        np.array("2020", dtype="M8[Y]"), np.array(["é", "x"]), np.array([b"\xff", b"x"]), np.array(np.inf),
        np.array(1e300), np.full((200, 63), np.nan), np.full((200, 63), 1e300), np.zeros((200, 63), "f2"),
        np.zeros(3, "i1,f4"), np.zeros((0, 63)), np.zeros((2**18, 2)), np.array([["a"] * 63]),
    )))  # fmt: skip


_ENTRIES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_claim, _other, _other, _flip, _cut, _insert)
