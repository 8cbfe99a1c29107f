"""One JSON object whose last members are long lists, written and read one element per line.

So a document of any length needs the memory of one element. What the object and its elements mean
is known to the formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from etl_assets.model.errors import BuildError
from etl_assets.publish.writers.output import OutputFile

HEADER = ""  # no list can have this name: `LIST_START` and `NEXT_LIST` ask for a character
LIST_START = re.compile(rb'(?P<header>\{.*?),?"(?P<name>[^"\\]+)":\[')
NEXT_LIST = re.compile(rb'\],"(?P<name>[^"\\]+)":\[')
OBJECT_END = b"]}"
SHOWN_BYTES = 80
ELEMENTS_PER_WRITE = 100

Part = TypeVar("Part")


def write_object(
    file: OutputFile, header: bytes, lists: Iterable[tuple[str, Iterable[bytes]]]
) -> int:
    """Write the encoded object `header` with lists of encoded elements as further members.

    Returns the number of elements of all lists.
    """
    count = 0
    # The header's closing brace is dropped; the lists follow its members.
    start = header.removesuffix(b"}") + (b"," if len(header) > len(b"{}") else b"")
    for name, elements in lists:
        file.write(start + b'"' + name.encode() + b'":[\n')
        separator, remaining = b"", iter(elements)
        # One write for many elements: hashing each alone costs more than the bytes do.
        while chunk := [*islice(remaining, ELEMENTS_PER_WRITE)]:
            file.write(separator + b",\n".join(chunk))
            separator = b",\n"
            count += len(chunk)
        file.write(b"\n" if separator else b"")
        start = b"],"
    file.write(OBJECT_END + b"\n")
    return count


def read_object(path: Path) -> Iterator[tuple[str, bytes]]:
    """The object without its lists as `HEADER`, then each element with the name of its list.

    Raises BuildError if the lines are not such an object.
    """
    with path.open("rb") as file:
        start = LIST_START.fullmatch(file.readline().rstrip(b"\n"))
        if start is None:
            raise _line_error(path, 1, "the object's first members and the opening of a list")
        yield HEADER, start["header"] + b"}"
        # The first element of a list follows no comma; `has_comma` is true as if one were there.
        name, is_first, has_comma = start["name"].decode(), True, True
        for number, line in enumerate(file, start=2):
            text = line.rstrip(b"\n")
            next_list = NEXT_LIST.fullmatch(text)
            if has_comma and not is_first and (next_list or text == OBJECT_END):
                raise _line_error(path, number, "another element after a comma")
            if text == OBJECT_END:
                if next(file, b""):
                    raise _line_error(path, number + 1, "nothing after the object")
                return
            if next_list:
                name, is_first, has_comma = next_list["name"].decode(), True, True
                continue
            if not has_comma:
                raise _line_error(path, number, "a comma before another element")
            is_first, has_comma = False, text.endswith(b",")
            yield name, text.removesuffix(b",")
        raise BuildError(f"{path}: expected the end of the object, found the end of the file")


def read_list(path: Path, list_name: str) -> Iterator[bytes]:
    """The elements of one list of the object."""
    return (element for name, element in read_object(path) if name == list_name)


def decode_part(
    path: Path, data: bytes, decoder: msgspec.json.Decoder[Part], expected: str
) -> Part:
    """Decode the header or one element; raises BuildError if it is not of the decoder's type."""
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        start = data[:SHOWN_BYTES].decode(errors="replace")
        raise BuildError(f"{path}: expected {expected}, found: {error}, in {start}") from error


def _line_error(path: Path, line: int, expected: str) -> BuildError:
    return BuildError(f"{path}: line {line}: expected {expected}, found something else")
