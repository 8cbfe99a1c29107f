"""A batch of read values judged by a contract: rows that hold, and a reject for each that does not.

A row is rejected for the first column that fails, in the contract's order. Whether two rows have
one key shows only at the end of a file: that is `etl_assets.tables.duplicates`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.contract import Column, Contract, RowRule
from etl_assets.model.errors import DeclarationError, Problem
from etl_assets.model.records import Reject
from etl_assets.tables.arrow_types import TYPE_DESCRIPTIONS, TYPES, cast_values
from etl_assets.tables.readers.batch import Batch, Values, row_json, value_json

CASES = {"upper": pc.utf8_upper, "lower": pc.utf8_lower}


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one row."""

    column: str | None
    rule: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """A batch after its contract: `rows` hold the declared columns only.

    `unknown_values` counts, by column, the values that are kept though nobody has declared them.
    """

    rows: pa.RecordBatch
    ordinals: Sequence[int]
    rejects: list[Reject]
    unknown_values: dict[str, Counter[str]]


class ContractChecker:
    """One contract, ready to judge batches."""

    def __init__(self, contract: Contract) -> None:
        _check_rules(contract)
        self._contract = contract
        self._judges = [_Judge(column, contract.null_words) for column in contract.columns]
        self._known = {
            column.name: pa.array(column.known_values, pa.string())
            for column in contract.columns
            if column.known_values is not None
        }

    def check(self, batch: Batch) -> CheckedBatch:
        """The rows that hold under the contract, and the others as rejects beside the reader's."""
        faults: dict[int, Violation] = {}
        arrays: dict[str, pa.Array] = {}
        for judge in self._judges:
            name = judge.column.name
            arrays[name], found = judge.judge(batch.columns[name])
            for row, fault in found:
                faults.setdefault(row, fault)
        for rule in self._contract.rules:
            for row, fault in _broken_rows(rule, arrays):
                faults.setdefault(row, fault)
        if faults and batch.exact:
            return self.check(batch.exact())
        return self._sorted_out(batch, pa.RecordBatch.from_pydict(arrays), faults)

    def _sorted_out(
        self, batch: Batch, rows: pa.RecordBatch, faults: dict[int, Violation]
    ) -> CheckedBatch:
        ordinals = batch.ordinals
        if faults:
            held = [row not in faults for row in range(len(ordinals))]
            rows = rows.filter(pa.array(held, pa.bool_()))
            ordinals = list(compress(ordinals, held))
        rejects = [*batch.rejects, *(_reject(batch, row, faults[row]) for row in sorted(faults))]
        return CheckedBatch(rows, ordinals, rejects, self._unknown_values(rows))

    def _unknown_values(self, rows: pa.RecordBatch) -> dict[str, Counter[str]]:
        found = {name: _others(rows.column(name), known) for name, known in self._known.items()}
        return {name: others for name, others in found.items() if others}


def _check_rules(contract: Contract) -> None:
    """A list equals no text: a rule on one would never hold, in silence."""
    lists = {column.name for column in contract.columns if column.type == "list[string]"}
    problems = [
        Problem(f"contract, rule {rule.name}", "a column of one value in `when`", name)
        for rule in contract.rules
        for name in sorted(lists & rule.when.keys())
    ]
    if problems:
        raise DeclarationError(problems)


def _others(array: pa.Array, known: pa.Array) -> Counter[str]:
    """How often each value occurs that is not among the known ones; a null is no value."""
    texts = pc.list_flatten(array) if pa.types.is_list(array.type) else array
    others = texts.filter(pc.invert(pc.or_(pc.is_in(texts, known), texts.is_null())))
    return Counter(others.to_pylist())


def row_keys(rows: pa.RecordBatch, key: list[str]) -> list[Hashable]:
    """The key of each row; a null is a value like others."""
    columns = [_hashable(rows.column(name)) for name in key]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _hashable(array: pa.Array) -> list[Hashable]:
    values: list[Any] = array.to_pylist()
    if pa.types.is_list(array.type):
        return [None if value is None else tuple(value) for value in values]
    return values


class _Judge:
    """One column's rules."""

    def __init__(self, column: Column, null_words: Sequence[str] = ()) -> None:
        self.column = column
        self._null_words = pa.array(sorted(null_words), pa.string())
        self._matches = re.compile(column.pattern, re.ASCII).fullmatch if column.pattern else None
        self._values = frozenset(column.values) if column.values is not None else None

    def judge(self, values: Values) -> tuple[pa.Array, Iterator[tuple[int, Violation]]]:
        """The values in their type, and what is wrong with which row."""
        meant = self._meant(values)
        array, misfits = cast_values(meant, self.column.type)
        return array, self._faults(meant, array, misfits)

    def _meant(self, values: Values) -> Values:
        """Texts as the declaration understands them: words for nothing are null, letters as told.

        What is no column of texts is left to the type.
        """
        if not self._null_words and self.column.case is None:
            return values
        if not isinstance(values, pa.Array):
            if not set(map(type, values)) <= {str, type(None)}:
                return values
            try:
                values = pa.array(values, pa.string())
            except (pa.ArrowException, UnicodeError):  # no Unicode: the type rejects it
                return values
        if values.type != TYPES["string"]:
            return values
        word = pc.utf8_lower(pc.utf8_trim_whitespace(values))
        values = pc.if_else(pc.is_in(word, self._null_words), pa.scalar(None, pa.string()), values)
        return CASES[self.column.case](values) if self.column.case else values

    def _faults(
        self, values: Values, array: pa.Array, misfits: list[int]
    ) -> Iterator[tuple[int, Violation]]:
        kind = self.column.type
        for row in misfits:
            yield row, self._fault("type", f"{TYPE_DESCRIPTIONS[kind]} ({kind})", values[row])
        if self.column.required and array.null_count > len(misfits):
            empty = self._fault("required", "a value", None)
            yield from (
                (row, empty) for row in sorted(set(_places(array.is_null())) - set(misfits))
            )
        if self._matches or not self._holds_values(array):
            yield from self._text_faults(array.to_pylist(), set(misfits))
        yield from self._bound_faults(array)

    def _holds_values(self, array: pa.Array) -> bool:
        """Whether a look at the whole column finds nothing but the values allowed."""
        if self._values is None:
            return True
        texts = pc.list_flatten(array) if pa.types.is_list(array.type) else array
        allowed = pc.is_in(texts, pa.array(sorted(self._values), pa.string()))
        return pc.all(pc.or_(allowed, texts.is_null())).as_py() is not False

    def _text_faults(self, values: list[Any], misfits: set[int]) -> Iterator[tuple[int, Violation]]:
        for row, value in enumerate(values):
            if value is None or row in misfits:
                continue
            for text in value if type(value) is list else (value,):
                if self._matches and not self._matches(text):
                    yield row, self._fault("pattern", f"text like {self.column.pattern}", text)
                if self._values is not None and text not in self._values:
                    listed = ", ".join(self.column.values or ())
                    yield row, self._fault("values", f"one of {listed}", text)

    def _bound_faults(self, array: pa.Array) -> Iterator[tuple[int, Violation]]:
        bounds = (
            ("minimum", self.column.minimum, pc.less, "at least"),
            ("maximum", self.column.maximum, pc.greater, "at most"),
        )
        for rule, bound, breaks, words in bounds:
            if bound is not None:
                for row in _places(breaks(array, bound)):
                    yield row, self._fault(rule, f"{words} {bound:g}", array[row].as_py())

    def _fault(self, rule: str, expected: str, found: object) -> Violation:
        return Violation(self.column.name, rule, expected, value_json(found))


def _broken_rows(rule: RowRule, arrays: dict[str, pa.Array]) -> Iterator[tuple[int, Violation]]:
    """The rows for which `when` holds and a required column is null."""
    concerned = None
    for name, value in rule.when.items():
        holds = pc.fill_null(
            pc.equal(pc.cast(arrays[name], TYPES["string"]), value), fill_value=False
        )
        concerned = holds if concerned is None else pc.and_(concerned, holds)
    condition = " and ".join(f"{name} is {value}" for name, value in rule.when.items())
    for name in rule.require:
        empty = pc.is_null(arrays[name])
        fault = Violation(name, rule.name, f"a value where {condition}".rstrip(), "null")
        for row in _places(empty if concerned is None else pc.and_(concerned, empty)):
            yield row, fault


def _places(mask: pa.Array) -> list[int]:
    places: list[int] = pc.indices_nonzero(mask).to_pylist()
    return places


def _reject(batch: Batch, row: int, fault: Violation) -> Reject:
    values = {name: column[row] for name, column in batch.columns.items()}
    return Reject(
        where=batch.where(row),
        column=fault.column,
        rule=fault.rule,
        expected=fault.expected,
        found=fault.found,
        row=row_json(values),
    )
