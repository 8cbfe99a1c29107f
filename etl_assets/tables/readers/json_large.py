"""The records of a JSON document (RFC 8259) that is larger than one record may be.

At most one record is in memory, or one entry of the outermost maps and lists with all records below
it. Smaller documents are read by `json_document`, faster and with the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from etl_assets.declarations.json_path import Step
from etl_assets.model.errors import ContentError
from etl_assets.model.records import Reject
from etl_assets.tables.readers import json_keys
from etl_assets.tables.readers.batch import (
    DECODE_ERRORS,
    record_reject,
    row_text,
    value_json,
)
from etl_assets.tables.readers.json_records import Leaf, walk
from etl_assets.tables.readers.json_stream import JsonStream

JSON_TYPES = {"items": "a list", "entries": "an object", "field": "an object"}
SHOWN_NAMES = 20


class LargeDocument:
    """Follows a path into a document, from its top value on.

    `records_read` are the indexes of those records on the path that columns are from. An entry that
    is too large is led into unless it is one of them.
    """

    def __init__(self, stream: JsonStream, records_read: frozenset[int]) -> None:
        self._stream = stream
        self._records_read = records_read

    def walk(self, steps: list[Step], leaf: Leaf) -> Iterator[Leaf | Reject]:
        """The records of the document; raises ContentError for one of another structure."""
        yield from self._go_into(steps, leaf, "")
        self._stream.end()

    def _go_into(self, steps: list[Step], leaf: Leaf, place: str) -> Iterator[Leaf | Reject]:
        """The records below the value at the position of the stream."""
        step, below = steps[0], steps[1:]
        if place and not self._is_at(step):
            yield record_reject(
                place, JSON_TYPES[step.kind], "another value", self._stream.excerpt()
            )
            self._stream.skip()
        elif step.kind == "field":
            yield from self._find_field(step.name, below, leaf, place)
        elif step.kind == "items":
            for number in self._stream.items():
                yield from self._read_entry(leaf, None, below, f"{place}[{number}]")
        else:
            for key in self._stream.entries():
                if isinstance(key, Reject):
                    yield from self._stream.pass_over(key)
                    continue
                child = f"{place}.{key}".lstrip(".")
                yield from self._read_entry(leaf, (step.name, key), below, child)

    def _find_field(
        self, name: str, below: list[Step], leaf: Leaf, place: str
    ) -> Iterator[Leaf | Reject]:
        is_found, other_names = False, list[str]()
        for key in self._stream.entries():
            if key != name:
                yield from self._stream.pass_over(key)
                if isinstance(key, str) and len(other_names) < SHOWN_NAMES:
                    other_names.append(key)
            elif is_found:
                # Its records have been yielded: a reject would come too late.
                raise ContentError.of(place, "each field once", f"{name} more than once")
            else:
                is_found = True
                yield from self._go_into(below, leaf, f"{place}.{name}" if place else "")
        expected, actual = f"an object with {name!r}", value_json(other_names)
        if not is_found and not place:
            raise ContentError.of("", expected, actual)
        if not is_found:
            yield record_reject(place, expected, actual, "")

    def _read_entry(
        self, leaf: Leaf, key: tuple[str, str] | None, below: list[Step], place: str
    ) -> Iterator[Leaf | Reject]:
        text = self._stream.read()
        if text is None:
            if below and self._may_go_into(below[0], len(leaf.records)):
                yield from self._go_into(below, _child(leaf, key, None), place)
            else:
                yield self._stream.reject_oversize(place)
            return
        try:
            value = json_keys.decode(text)
        except DECODE_ERRORS as error:
            yield record_reject(place, "JSON", str(error), row_text(text))
        else:
            yield from walk(value, below, _child(leaf, key, value), place)

    def _may_go_into(self, step: Step, record: int) -> bool:
        return record not in self._records_read and self._is_at(step)

    def _is_at(self, step: Step) -> bool:
        """True if the value at the position is of the type that a step leads into."""
        return self._stream.next_byte() == (b"[" if step.kind == "items" else b"{")


def _child(leaf: Leaf, key: tuple[str, str] | None, value: object) -> Leaf:
    return leaf.item(value) if key is None else leaf.entry(*key, value)
