"""A field that an object has twice, in every JSON format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.json_files import KINDS, JsonKind

from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers import registry

pytestmark = pytest.mark.fault("json-twice")

Members = Callable[[JsonKind], str]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> JsonKind:
    return KINDS[request.param]


def read(tmp_path: Path, kind: JsonKind, *members: str) -> tuple[list[str], list[str]]:
    """The ids of the valid rows, and what the rejects say; record n has the id `n`."""
    records = [kind.record(str(number), text) for number, text in enumerate(members, start=1)]
    return read_file(tmp_path, kind, kind.write(records))


def read_file(tmp_path: Path, kind: JsonKind, data: bytes) -> tuple[list[str], list[str]]:
    path = tmp_path / "file"
    path.write_bytes(data)
    checker = ContractChecker(kind.contract)
    ids, faults = list[str](), list[str]()
    for batch in registry.read(path, kind.form, kind.contract):
        checked = checker.check(batch)
        ids += checked.rows.column(kind.id_column).to_pylist()
        for reject in checked.rejects:
            faults.append(f"{reject.where}: {reject.expected}; {reject.actual}")
    return ids, faults


def nested(kind: JsonKind, *parts: str) -> str:
    before, _, after = kind.nested
    return before + ", ".join(parts) + after


def blanks_before_colon(member: str) -> str:
    return member.replace(":", " \n\t:", 1)


def escaped(member: str) -> str:
    """The member with the first letter of its key as an escape."""
    return f'"\\u{ord(member[1]):04x}{member[2:]}'


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(lambda kind: f"{kind.read}, {kind.read}", id="equal values"),
        pytest.param(lambda kind: f'{kind.read}, {kind.read[:-1]}x"', id="other values"),
        pytest.param(lambda kind: f'{kind.read}, "z": 1, {kind.read}', id="not adjacent"),
        pytest.param(lambda kind: f"{kind.read}, {escaped(kind.read)}", id="equal when unescaped"),
        pytest.param(lambda kind: f"{escaped(kind.read)}, {escaped(kind.read)}", id="escaped"),
        pytest.param(
            lambda kind: f"{kind.read}, {blanks_before_colon(kind.read)}",
            id="blanks before colon",
        ),
        pytest.param(lambda kind: f"{kind.read.split(':')[0]}: null, {kind.read}", id="null first"),
        pytest.param(lambda kind: '"id": "9"', id="the key of the table"),
        pytest.param(lambda kind: '"z": 1, "z": 2', id="a field without a column"),
        pytest.param(lambda kind: '"": 1, "": 2', id="the empty field"),
        pytest.param(
            lambda kind: f'"z": "\\"k\\": 1", {kind.read}, {kind.read}', id="beside a key in a text"
        ),
        pytest.param(lambda kind: '"tags": []', id="a list of objects without a column"),
        pytest.param(lambda kind: nested(kind, kind.nested[1], kind.nested[1]), id="nested"),
        pytest.param(
            lambda kind: nested(kind, kind.nested[1], '"z": ": \\":"', escaped(kind.nested[1])),
            id="nested, escaped",
        ),
        pytest.param(
            lambda kind: f"{nested(kind, kind.nested[1])}, {nested(kind)}", id="object twice"
        ),
    ],
)
def test_a_record_with_a_field_twice_is_rejected_and_costs_no_other(
    tmp_path: Path, kind: JsonKind, members: Members
) -> None:
    ids, faults = read(tmp_path, kind, kind.read, members(kind), kind.read)

    assert ids == ["1", "3"]
    (fault,) = faults
    assert "once" in fault or "an object" in fault
    assert fault.endswith("more than once")


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(lambda kind: '"z": {"a": 1, "a": 2}', id="object"),
        pytest.param(
            lambda kind: '"z": [{"a": 1}, {"b": {"a": 1, "a": 1}}]', id="object in a list"
        ),
        pytest.param(
            lambda kind: nested(kind, '"z": {"a": 1, "a": 2}'), id="beside a nested column"
        ),
    ],
)
def test_a_part_that_is_not_read_is_not_compared(
    tmp_path: Path, kind: JsonKind, members: Members
) -> None:
    ids, faults = read(tmp_path, kind, kind.read, members(kind), kind.read)

    assert (ids, faults) == (["1", "2", "3"], [])


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(lambda kind: f'{kind.read[:-1]}: \\"x\\": :"', id="colons in a text"),
        pytest.param(
            lambda kind: f'{kind.read.split(":")[0]}: ": x"', id="text begins with a colon"
        ),
        pytest.param(lambda kind: blanks_before_colon(kind.read), id="blanks before colon"),
        pytest.param(
            lambda kind: '"": 1, " ": 2, "\\"": 3, "\\\\": 4, "\\u0000": 5', id="odd keys"
        ),
        pytest.param(
            lambda kind: '"a": "\\"k\\": 1, \\"k\\": 2, \\u0022k\\u0022:"', id="keys in a text"
        ),
        pytest.param(lambda kind: '"a": 1, "A": 2, "\\u0061b": 3', id="keys of other letters"),
        pytest.param(
            lambda kind: '"z": {"name": 1, "id": 2, "size": 3}', id="name in another object"
        ),
        pytest.param(
            lambda kind: ", ".join(f'"k{number}": {{}}' for number in range(3_000)), id="many keys"
        ),
        pytest.param(lambda kind: '"z": ' + '{"a": ' * 90 + "1" + "}" * 90, id="deep"),
        pytest.param(lambda kind: f'"z": "{"x" * 5_000}\\":"', id="long text"),
    ],
)
def test_an_unusual_record_with_each_field_once_is_read(
    tmp_path: Path, kind: JsonKind, members: Members
) -> None:
    ids, faults = read(tmp_path, kind, *[kind.read] * 3, members(kind), *[members(kind)] * 2)

    assert (ids, faults) == (["1", "2", "3", "4", "5", "6"], [])


def test_one_record_among_thousands_is_found(tmp_path: Path, kind: JsonKind) -> None:
    members = [kind.read] * 3_000
    members[2_345] = f"{kind.read}, {kind.read}"

    ids, faults = read(tmp_path, kind, *members)

    assert ids == [str(number) for number in range(1, 3_001) if number != 2_346]
    assert len(faults) == 1


@pytest.mark.parametrize("copies", [1, 40], ids=["small", "larger than a record may be"])
def test_a_name_twice_in_a_map_of_records_drops_neither(tmp_path: Path, copies: int) -> None:
    kind = KINDS["map"]
    records = [kind.record(str(number), f'"z": "{"x" * 1_000}"') for number in range(copies * 2)]
    entries = [f'"tree": {{"x": {record}}}' for record in records]
    path = tmp_path / "file"
    path.write_text("{" + ", ".join(entries) + "}", encoding="utf-8")

    batches = list(registry.read(path, kind.form, kind.contract, 20_000))

    ids = [value for batch in batches for value in batch.columns["id"]]
    assert ids == [str(number) for number in range(copies * 2)]
