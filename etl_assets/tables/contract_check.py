"""Check a batch of values against a contract: valid rows, and one reject for each other row.

A row is rejected for the first column that fails, in the order of the contract, and the other rows
of its record with it if the contract says what a record is. Whether a key repeats, and which rows
are rejected together with others, is known at the end of a file only: that is
`etl_assets.tables.duplicates` and `etl_assets.tables.tabulate`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain, compress
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.contract import Column, Contract, RowRule, VersionScheme
from etl_assets.model.errors import DeclarationError, Problem
from etl_assets.model.records import Reject
from etl_assets.tables.arrow_types import TYPE_DESCRIPTIONS, TYPES, cast_values
from etl_assets.tables.readers.batch import BLANKS, Batch, Refusal, Values, row_json, value_json
from etl_assets.tables.version_schemes import (
    VERSION_DESCRIPTIONS,
    read_version,
    unlike_versions,
)

PARSED_TYPES = TYPES.keys() - {"string", "list[string]"}
CASE_FUNCTIONS = {"upper": pc.utf8_upper, "lower": pc.utf8_lower}


@dataclass(frozen=True, slots=True)
class Violation:
    """The rule that a row breaks."""

    column: str | None
    rule: str
    expected: str
    actual: str


@dataclass(frozen=True, slots=True)
class RefusedValue:
    """A value of a valid row that is not read as it is: as null, or as another text."""

    where: str
    column: str
    expected: str
    actual: str
    read_as: str | None

    def __str__(self) -> str:
        replacement = "null" if self.read_as is None else self.read_as
        found = f"expected {self.expected}, found {self.actual}"
        return f"{self.where}, {self.column}: {found}, which is read as {replacement}"


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """The valid rows of a batch, with the declared columns only, and the rejects.

    `unknown_values` counts, by column, the values of valid rows that `known_values` does not list.
    `rejected_groups` are the values of the rejected rows in the columns `reject_together`.
    """

    rows: pa.RecordBatch
    ordinals: Sequence[int]
    rejects: list[Reject]
    unknown_values: dict[str, Counter[str]]
    refused_values: list[RefusedValue]
    rejected_groups: Set[Hashable] = frozenset()


class ContractChecker:
    """Checks batches against one contract. Raises DeclarationError for a rule on a list."""

    def __init__(self, contract: Contract) -> None:
        _check_rules(contract)
        self._contract = contract
        self._columns = [
            _ColumnChecker(column, contract.null_words, keeps_row=contract.keeps_row(column))
            for column in contract.columns
        ]
        self._known_values = {
            column.name: pa.array(column.known_values, pa.string())
            for column in contract.columns
            if column.known_values is not None
        }

    def check(self, batch: Batch) -> CheckedBatch:
        """Returns the valid rows, and the others as rejects after those of the reader."""
        violations: dict[int, Violation] = {}
        arrays: dict[str, pa.Array] = {}
        refusals = [*batch.refusals]
        for checker in self._columns:
            name = checker.column.name
            faults = batch.faults.get(name, {})
            arrays[name], column_violations, refused = checker.check(
                batch.values(checker.column), faults, are_floats=batch.numbers_are_floats
            )
            refusals += refused
            for row, violation in column_violations:
                violations.setdefault(row, violation)
        for rule in self._contract.rules:
            for row, violation in _rule_violations(rule, arrays):
                violations.setdefault(row, violation)
        if (violations or refusals) and batch.exact:
            return self.check(batch.exact())

        rows = pa.RecordBatch.from_pydict(arrays)
        ordinals = batch.ordinals
        rejected_rows: Set[int] = violations.keys() | batch.rejected_rows.keys()
        if self._contract.record_key and violations:
            violations, rejected_rows = _reject_whole_records(violations, ordinals)
        groups = self._groups(rows, rejected_rows)
        if rejected_rows:
            is_valid = [row not in rejected_rows for row in range(len(ordinals))]
            rows = rows.filter(pa.array(is_valid, pa.bool_()))
            ordinals = list(compress(ordinals, is_valid))
        rejects = [
            batch.rejected_rows.get(row) or _reject(batch, row, violations[row])
            for row in sorted(violations.keys() | batch.rejected_rows.keys())
        ]
        refused_values = [
            RefusedValue(batch.where(refusal.row), *refusal[1:])
            for refusal in sorted(refusals, key=itemgetter(0, 1))
            if refusal.row not in rejected_rows
        ]
        return CheckedBatch(
            rows,
            ordinals,
            [*batch.rejects, *rejects],
            self._count_unknown_values(rows),
            refused_values,
            groups,
        )

    def _groups(self, rows: pa.RecordBatch, rejected_rows: Set[int]) -> Set[Hashable]:
        if not (self._contract.reject_together and rejected_rows):
            return frozenset()
        rejected = rows.take(pa.array(sorted(rejected_rows)))
        return frozenset(row_keys(rejected, self._contract.reject_together))

    def _count_unknown_values(self, rows: pa.RecordBatch) -> dict[str, Counter[str]]:
        counters: dict[str, Counter[str]] = {}
        for name, known_values in self._known_values.items():
            texts = _flatten(rows.column(name))
            is_expected = pc.or_(pc.is_in(texts, known_values), texts.is_null())
            if counter := Counter(texts.filter(pc.invert(is_expected)).to_pylist()):
                counters[name] = counter
        return counters


def _check_rules(contract: Contract) -> None:
    # A list equals no text: a rule with one in `when` would silently never apply.
    lists = {column.name for column in contract.columns if column.type == "list[string]"}
    problems = [
        Problem(f"contract, rule {rule.name}", "a column of one value in `when`", name)
        for rule in contract.rules
        for name in sorted(lists & rule.when.keys())
    ]
    if problems:
        raise DeclarationError(problems)


def _reject_whole_records(
    violations: Mapping[int, Violation], ordinals: Sequence[int]
) -> tuple[dict[int, Violation], frozenset[int]]:
    """The first violation of each record, and all rows of these records.

    The other rows of a record would say less than the record does, or something else.
    """
    first_rows: dict[int, int] = {}
    for row in sorted(violations):
        first_rows.setdefault(ordinals[row], row)
    rows = frozenset(row for row, ordinal in enumerate(ordinals) if ordinal in first_rows)
    return {row: violations[row] for row in first_rows.values()}, rows


def row_keys(rows: pa.RecordBatch, key: list[str]) -> list[Hashable]:
    """The key of each row, of which a part may be None."""
    columns = []
    for name in key:
        column = rows.column(name)
        values = column.to_pylist()
        if pa.types.is_list(column.type):
            values = [None if value is None else tuple(value) for value in values]
        columns.append(values)
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


class _ColumnChecker:
    """The rules of one column."""

    def __init__(self, column: Column, null_words: Sequence[str] = (), *, keeps_row: bool) -> None:
        self.column = column
        self._keeps_row = keeps_row
        self._null_words = pa.array(sorted(null_words), pa.string())
        self._matches = re.compile(column.pattern, re.ASCII).fullmatch if column.pattern else None
        self._values = frozenset(column.values) if column.values is not None else None

    def check(
        self, values: Values, faults: Mapping[int, str], *, are_floats: bool
    ) -> tuple[pa.Array, Iterator[tuple[int, Violation]], list[Refusal]]:
        """Returns the values in their type, broken rules by row, and values not read as they are.

        `faults` has what a row has in place of a value.
        """
        normalized = self._normalize(values)
        array, misfits = cast_values(normalized, self.column.type, are_floats=are_floats)
        if misfits and self.column.trim and self.column.type in PARSED_TYPES:
            normalized = _trim_texts(normalized, misfits)
            array, misfits = cast_values(normalized, self.column.type, are_floats=are_floats)
        refused: list[Refusal] = []
        if self.column.version_scheme:
            array, refused = self._read_versions(array, self.column.version_scheme)
            if not self.column.required:
                # A number or a list is no more a version than a word is, and as little of a reject.
                expected = VERSION_DESCRIPTIONS[self.column.version_scheme]
                refused += [self._refuse(row, expected, value_json(values[row])) for row in misfits]
                misfits = []
        elif self.column.trim:
            array = _trim(array)
        violations = self._violations(normalized, array, misfits)
        if self._keeps_row:
            array, invalid = self._discard_values(array, violations)
            refused += invalid
            violations = iter(())
        if self.column.faulty_cells == "discard_value" or self._keeps_row:
            refused += [self._refuse(row, "a value", fault) for row, fault in faults.items()]
            return array, violations, refused
        found_faults = (
            (row, Violation(self.column.name, "cell", "a value", fault))
            for row, fault in faults.items()
        )
        return array, chain(found_faults, violations), refused

    def _refuse(self, row: int, expected: str, actual: str, read_as: str | None = None) -> Refusal:
        return Refusal(row, self.column.name, expected, actual, read_as)

    def _discard_values(
        self, array: pa.Array, violations: Iterator[tuple[int, Violation]]
    ) -> tuple[pa.Array, list[Refusal]]:
        """The values with null in place of those that break a rule, and the latter."""
        invalid: dict[int, Violation] = {}
        for row, violation in violations:
            invalid.setdefault(row, violation)
        if not invalid:
            return array, []
        is_invalid = np.zeros(len(array), np.bool_)
        is_invalid[list(invalid)] = True
        array = pc.if_else(pa.array(is_invalid), pa.scalar(None, array.type), array)
        return array, [
            self._refuse(row, violation.expected, violation.actual)
            for row, violation in invalid.items()
        ]

    def _read_versions(
        self, array: pa.Array, scheme: VersionScheme
    ) -> tuple[pa.Array, list[Refusal]]:
        """The versions among the texts, and the texts that are none or are read as another one."""
        refused = []
        replacements: dict[int, str | None] = {}
        trimmed = pc.utf8_trim(array, BLANKS)
        for row in unlike_versions(trimmed):
            version = read_version(trimmed[row].as_py(), scheme)
            if version == trimmed[row].as_py():
                continue
            replacements[row] = version
            # An empty text is how many feeds write "none"; a blank one is a mistake.
            if text := array[row].as_py():
                expected = VERSION_DESCRIPTIONS[scheme]
                refused.append(self._refuse(row, expected, value_json(text), version))
        if not replacements:
            return trimmed, refused
        texts = trimmed.to_pylist()
        for row, version in replacements.items():
            texts[row] = version
        return pa.array(texts, pa.string()), refused

    def _normalize(self, values: Values) -> Values:
        """Texts with null words as null and letters in the declared case; other values as is."""
        if not self._null_words and self.column.case is None:
            return values
        if not isinstance(values, pa.Array):
            if not set(map(type, values)) <= {str, type(None)}:
                return self._normalize_among_others(values)
            try:
                values = pa.array(values, pa.string())
            except (pa.ArrowException, UnicodeError):
                return self._normalize_among_others(values)
        return self._normalize_texts(values) if values.type == TYPES["string"] else values

    def _normalize_texts(self, texts: pa.Array) -> pa.Array:
        trimmed = pc.utf8_lower(pc.utf8_trim(texts, BLANKS))
        is_null = pc.is_in(trimmed, self._null_words)
        texts = pc.if_else(is_null, pa.scalar(None, pa.string()), texts)
        return CASE_FUNCTIONS[self.column.case](texts) if self.column.case else texts

    def _normalize_among_others(self, values: list[Any]) -> list[Any]:
        """Normalize the texts among other values, and leave out those that are not Unicode."""
        others = {
            row: value
            for row, value in enumerate(values)
            if type(value) is not str or not _is_unicode(value)
        }
        texts = [None if row in others else value for row, value in enumerate(values)]
        normalized = self._normalize_texts(pa.array(texts, pa.string())).to_pylist()
        return [others.get(row, text) for row, text in enumerate(normalized)]

    def _violations(
        self, values: Values, array: pa.Array, misfits: list[int]
    ) -> Iterator[tuple[int, Violation]]:
        kind = self.column.type
        for row in misfits:
            yield row, self._violation("type", f"{TYPE_DESCRIPTIONS[kind]} ({kind})", values[row])
        if self.column.required and array.null_count > len(misfits):
            violation = self._violation("required", "a value", None)
            for row in sorted(set(_true_rows(array.is_null())) - set(misfits)):
                yield row, violation
        if not (self._has_only_matching_texts(array) and self._has_only_listed_values(array)):
            yield from self._text_violations(array.to_pylist(), set(misfits))
        yield from self._bound_violations(array)

    def _has_only_matching_texts(self, array: pa.Array) -> bool:
        """True if no pattern is declared or it matches every text."""
        if self._matches is None:
            return True
        # Arrow's regular expressions differ from Python's, so a pattern is matched text by text:
        # without a loop in Python, which takes twice the time.
        return all(map(self._matches, _flatten(array).drop_null().to_pylist()))

    def _has_only_listed_values(self, array: pa.Array) -> bool:
        """True if `values` is not declared or lists every value: found for all rows at once."""
        if self._values is None:
            return True
        texts = _flatten(array)
        is_listed = pc.is_in(texts, pa.array(sorted(self._values), pa.string()))
        return pc.all(pc.or_(is_listed, texts.is_null())).as_py() is not False

    def _text_violations(
        self, values: list[Any], misfits: set[int]
    ) -> Iterator[tuple[int, Violation]]:
        for row, value in enumerate(values):
            if value is None or row in misfits:
                continue
            for text in value if type(value) is list else (value,):
                if self._matches and not self._matches(text):
                    yield row, self._violation("pattern", f"text like {self.column.pattern}", text)
                if self._values is not None and text not in self._values:
                    choices = ", ".join(self.column.values or ())
                    yield row, self._violation("values", f"one of {choices}", text)

    def _bound_violations(self, array: pa.Array) -> Iterator[tuple[int, Violation]]:
        bounds = (
            ("minimum", self.column.minimum, pc.less, "at least"),
            ("maximum", self.column.maximum, pc.greater, "at most"),
        )
        for rule, bound, is_outside, relation in bounds:
            if bound is not None:
                for row in _true_rows(is_outside(array, bound)):
                    yield row, self._violation(rule, f"{relation} {bound:g}", array[row].as_py())

    def _violation(self, rule: str, expected: str, value: object) -> Violation:
        return Violation(self.column.name, rule, expected, value_json(value))


def _rule_violations(rule: RowRule, arrays: dict[str, pa.Array]) -> Iterator[tuple[int, Violation]]:
    """The rows to which `when` applies, with a column that is null or has a forbidden value."""
    row_count = len(next(iter(arrays.values())))
    applies = pa.repeat(pa.scalar(True), row_count)  # noqa: FBT003
    for name, value in rule.when.items():
        is_equal = pc.equal(pc.cast(arrays[name], TYPES["string"]), value)
        applies = pc.and_(applies, pc.fill_null(is_equal, fill_value=False))
    condition = " and ".join(f"{name} is {value}" for name, value in rule.when.items())
    for name in rule.require:
        is_broken = pc.and_(applies, pc.is_null(arrays[name]))
        violation = Violation(name, rule.name, f"a value where {condition}".rstrip(), "null")
        for row in _true_rows(is_broken):
            yield row, violation
    for name, pattern in rule.forbid.items():
        forbidden = re.compile(pattern, re.ASCII)
        for row in _true_rows(applies):
            value = arrays[name][row].as_py()
            if value is not None and forbidden.fullmatch(str(value)):
                expected = f"a value unlike {pattern} where {condition}".rstrip()
                yield row, Violation(name, rule.name, expected, value_json(value))


def _trim_texts(values: Values, rows: list[int]) -> Values:
    """The values in these rows without the blanks around texts, and null for a blank text."""
    trimmed: list[Any] = values.to_pylist() if isinstance(values, pa.Array) else [*values]
    for row in rows:
        text = trimmed[row]
        if isinstance(text, str) and text != text.strip(BLANKS):
            trimmed[row] = text.strip(BLANKS) or None
    return trimmed


def _trim(array: pa.Array) -> pa.Array:
    """Texts without the blanks around them, also in lists; other values as they are."""
    if pa.types.is_list(array.type) and pa.types.is_string(array.type.value_type):
        texts = pc.list_flatten(array)
        trimmed = pc.utf8_trim(texts, BLANKS)
        if trimmed.equals(texts):
            return array
        lists = [
            None if value is None else [text.strip(BLANKS) for text in value]
            for value in array.to_pylist()
        ]
        return pa.array(lists, array.type)
    if not pa.types.is_string(array.type):
        return array
    trimmed = pc.utf8_trim(array, BLANKS)
    if trimmed.equals(array):
        return array
    is_blank = pc.and_(pc.equal(trimmed, ""), pc.not_equal(array, ""))
    return pc.if_else(is_blank, pa.scalar(None, pa.string()), trimmed)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeError:
        return False
    return True


def _flatten(array: pa.Array) -> pa.Array:
    """The texts of an array, or of the lists in it."""
    return pc.list_flatten(array) if pa.types.is_list(array.type) else array


def _true_rows(mask: pa.Array) -> list[int]:
    rows: list[int] = pc.indices_nonzero(mask).to_pylist()
    return rows


def _reject(batch: Batch, row: int, violation: Violation) -> Reject:
    values = {name: column[row] for name, column in batch.columns.items()}
    values |= {name: faults[row] for name, faults in batch.faults.items() if row in faults}
    return Reject(
        where=batch.where(row),
        column=violation.column,
        rule=violation.rule,
        expected=violation.expected,
        actual=violation.actual,
        row=row_json(values),
    )
