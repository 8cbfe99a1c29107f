"""One JSON object whose last members are long lists, one element per line.

So a document of any length is written and checked in the memory of one element. What the object
and its elements say is a writer's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from etl_assets.model.errors import BuildError
from etl_assets.publish.writers.sink import Sink

HEAD = ""
OPENING = re.compile(rb'(?P<head>\{.*?),?"(?P<name>[^"\\]+)":\[')
NEXT = re.compile(rb'\],"(?P<name>[^"\\]+)":\[')
CLOSING = b"]}"

Kind = TypeVar("Kind")


def write_lines(file: Sink, head: bytes, lists: Iterable[tuple[str, Iterable[bytes]]]) -> int:
    """The object `head` with the lists as further members; returns the number of all elements."""
    count = 0
    opening = head.removesuffix(b"}") + (b"," if len(head) > len(b"{}") else b"")
    for name, elements in lists:
        file.write(opening + b'"' + name.encode() + b'":[\n')
        separator = b""
        for element in elements:
            file.write(separator + element)
            separator = b",\n"
            count += 1
        file.write(b"\n" if separator else b"")
        opening = b"],"
    file.write(CLOSING + b"\n")
    return count


def read_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """The object without its lists under the name `HEAD`, then each element under its list's name.

    Raises BuildError where the lines together are no such object.
    """
    with path.open("rb") as file:
        opening = OPENING.fullmatch(file.readline().rstrip(b"\n"))
        if opening is None:
            raise _no_object(path, 1, "the object's first members and the opening of a list")
        yield HEAD, opening["head"] + b"}"
        name, is_first, goes_on = opening["name"].decode(), True, True
        for number, line in enumerate(file, start=2):
            text = line.rstrip(b"\n")
            following = NEXT.fullmatch(text)
            if goes_on and not is_first and (following or text == CLOSING):
                raise _no_object(path, number, "another element after a comma")
            if text == CLOSING:
                if next(file, b""):
                    raise _no_object(path, number + 1, "nothing after the object")
                return
            if following:
                name, is_first, goes_on = following["name"].decode(), True, True
                continue
            if not goes_on:
                raise _no_object(path, number, "a comma before another element")
            is_first, goes_on = False, text.endswith(b",")
            yield name, text.removesuffix(b",")
        raise BuildError(f"{path}: expected the end of the object, found the end of the file")


def decoded(path: Path, data: bytes, decoder: msgspec.json.Decoder[Kind], expected: str) -> Kind:
    """One piece of the file as its structure; raises BuildError where it is none."""
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        start = data[:80].decode(errors="replace")
        raise BuildError(f"{path}: expected {expected}, found: {error}, in {start}") from error


def _no_object(path: Path, line: int, expected: str) -> BuildError:
    return BuildError(f"{path}: line {line}: expected {expected}, found something else")
