"""OSV records taken apart into intervals, and archives that are not safe to read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.table_declarations import column, contract, source

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import OsvFormat
from etl_assets.model.errors import ContentError, DeclarationError
from etl_assets.model.home import Home
from etl_assets.tables.readers.batch import Batch
from etl_assets.tables.readers.osv import OFFERED_FIELDS, read
from etl_assets.tables.tabulate import tabulate

TYPES = {"aliases": "list[string]", "upstream": "list[string]", "related": "list[string]"}
TYPES |= {"versions": "list[string]"}
ALL = contract(*(column(name, TYPES.get(name, "string")) for name in OFFERED_FIELDS))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "all.zip"


def pack(file: Path, *members: dict[str, Any] | bytes, packing: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(file, "w", packing) as archive:
        for number, member in enumerate(members, start=1):
            data = member if isinstance(member, bytes) else json.dumps(member).encode()
            archive.writestr(f"{number}.json", data)


def batch_of(file: Path, declaration: Contract = ALL) -> Batch:
    (batch,) = read(file, OsvFormat(name="osv"), declaration)
    return batch


def record(*events: dict[str, str], **fields: Any) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}]
    package = {"ecosystem": "Grove:1", "name": "pear"}
    return {"id": "O-1", "affected": [{"package": package, "ranges": ranges}]} | fields


def intervals(batch: Batch) -> list[tuple[str | None, str | None, str | None]]:
    columns = (batch.columns[name] for name in ("introduced", "fixed", "last_affected"))
    return list(zip(*columns, strict=True))


def test_a_record_with_all_its_fields_becomes_a_row(file: Path) -> None:
    fields = {"modified": "2024-01-02T03:04:05Z", "aliases": ["A-1"], "summary": "Soft core"}
    pack(file, record({"introduced": "0"}, {"fixed": "1.2"}, **fields))

    batch = batch_of(file)

    row = {name: values[0] for name, values in batch.columns.items() if values[0] is not None}
    assert row == {
        "osv_id": "O-1",
        "aliases": ["A-1"],
        "modified_at": "2024-01-02T03:04:05Z",
        "summary": "Soft core",
        "ecosystem": "Grove:1",
        "package_name": "pear",
        "affected_number": 1,
        "versions_count": 0,
        "range_number": 1,
        "range_type": "ECOSYSTEM",
        "introduced": "0",
        "fixed": "1.2",
    }


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([{"introduced": "0"}], [("0", None, None)], id="open"),
        pytest.param(
            [{"introduced": "0"}, {"last_affected": "3"}], [("0", None, "3")], id="last affected"
        ),
        pytest.param(
            [{"introduced": "0"}, {"fixed": "1"}, {"introduced": "2"}, {"fixed": "3"}],
            [("0", "1", None), ("2", "3", None)],
            id="two intervals",
        ),
        pytest.param(
            [{"introduced": "0"}, {"introduced": "2"}, {"fixed": "3"}],
            [("0", None, None), ("2", "3", None)],
            id="two starts",
        ),
        pytest.param([{"fixed": "1"}], [(None, "1", None)], id="end without start"),
        pytest.param([], [(None, None, None)], id="no events"),
        pytest.param([{"limit": "9"}], [(None, None, None)], id="limit only"),
    ],
)
def test_events_pair_to_intervals(
    file: Path, events: list[dict[str, str]], expected: list[tuple[str | None, ...]]
) -> None:
    pack(file, record(*events))

    assert intervals(batch_of(file)) == expected


def test_a_limit_is_the_end_of_an_interval(file: Path) -> None:
    pack(file, record({"introduced": "0"}, {"fixed": "1"}, {"introduced": "2"}, {"limit": "3"}))

    batch = batch_of(file)

    assert intervals(batch) == [("0", "1", None), ("2", None, None)]
    assert batch.columns["limit"] == [None, "3"]


def test_the_ranges_of_an_entry_are_numbered(file: Path) -> None:
    spans = [
        {"type": "ECOSYSTEM", "events": [{"introduced": "2"}, {"introduced": "0"}, {"fixed": "1"}]},
        {"type": "GIT", "events": [{"introduced": "0"}]},
    ]
    pack(file, {"id": "O-1", "affected": [{"ranges": spans}]})

    batch = batch_of(file)

    assert batch.columns["range_number"] == [1, 1, 2]
    assert batch.columns["range_type"] == ["ECOSYSTEM", "ECOSYSTEM", "GIT"]


def test_each_affected_package_has_its_rows(file: Path) -> None:
    affected = [{"package": {"ecosystem": "Grove", "name": name}} for name in ("pear", "plum")]
    pack(file, {"id": "O-1", "affected": affected}, {"id": "O-2"})

    batch = batch_of(file)

    assert batch.columns["osv_id"] == ["O-1", "O-1", "O-2"]
    assert batch.columns["package_name"] == ["pear", "plum", None]
    assert batch.ordinals == [1, 1, 2]
    assert batch.records == 2


def test_versions_are_counted_and_the_urgency_is_found(file: Path) -> None:
    affected = {"versions": ["1", "2"], "ecosystem_specific": {"urgency": "ripe"}}
    other = {"database_specific": {"urgency": "green"}}
    pack(file, {"id": "O-1", "affected": [affected, other]})

    batch = batch_of(file)

    assert batch.columns["versions"] == [["1", "2"], None]
    assert batch.columns["versions_count"] == [2, 0]
    assert batch.columns["affected_number"] == [1, 2]
    assert batch.columns["range_number"] == [None, None]
    assert batch.columns["urgency"] == ["ripe", "green"]


def test_a_single_range_is_read_like_a_list_of_it(file: Path) -> None:
    listed = record({"introduced": "0"}, {"fixed": "1.2"})
    [affected] = listed["affected"]
    [span] = affected["ranges"]
    pack(file, listed, listed | {"id": "O-2", "affected": [affected | {"ranges": span}]})

    batch = batch_of(file)

    assert batch.rejects == []
    assert intervals(batch) == [("0", "1.2", None)] * 2
    assert batch.columns["range_type"] == ["ECOSYSTEM", "ECOSYSTEM"]


OSV = OsvFormat(name="osv").model_dump()
BY_ID = contract(
    column("osv_id", required=True),
    column("modified_at", "timestamp"),
    column("range_number", "int64"),
    "introduced",
    "fixed",
    key=["osv_id", "range_number", "introduced", "fixed"],
    record_key=["osv_id"],
    duplicates="keep_newest",
    newest_by="modified_at",
    invalid_values="discard_value",
)
OLD, NEW = {"modified": "2024-01-01T00:00:00Z"}, {"modified": "2025-01-01T00:00:00Z"}


@pytest.mark.fault("osv-twice")
@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        pytest.param(OLD, NEW, 2, id="the second is newer"),
        pytest.param(NEW, OLD, 1, id="the first is newer"),
        pytest.param(NEW, NEW, 2, id="of equal ones the last"),
        pytest.param({}, OLD, 2, id="the first has no time"),
        pytest.param(OLD, {"modified": "yesterday"}, 1, id="the second has an odd time"),
        pytest.param({}, {}, 2, id="none has a time"),
    ],
)
def test_of_records_with_one_id_the_newest_counts_whole(
    file: Path, home: Home, first: dict[str, str], second: dict[str, str], kept: int
) -> None:
    one = record({"introduced": "0"}, {"fixed": "1"}, {"introduced": "2"}, {"fixed": "3"}, **first)
    two = record({"introduced": "0"}, {"fixed": "1"}, {"introduced": "5"}, **second)
    other = record({"fixed": "7"}, id="O-2", **OLD)
    pack(file, one, other, two)

    declared = source(BY_ID, OSV)
    table = tabulate(home, declared, declared.part(), file, "a" * 64, code_version="1")

    rows = pq.read_table(home.root / table.path).to_pylist()
    starts = [row["introduced"] for row in rows if row["osv_id"] == "O-1"]
    assert starts == (["0", "2"] if kept == 1 else ["0", "5"])
    assert (table.rows, table.duplicates, table.rejected) == (3, 2, 0)
    given_way, counts = (3, 1) if kept == 1 else (1, 3)
    assert table.first_duplicates == [
        f'record {given_way}: a duplicate by osv_id "O-1"; record {counts} counts'
    ]


def test_a_rejected_record_does_not_take_its_id(file: Path, home: Home) -> None:
    pack(file, b'{"id": "O-1", "affected": 7}', {"id": "O-1"} | OLD, {"id": "o-1"})

    declared = source(BY_ID.model_copy(update={"max_rejected_pct": 50}), OSV)
    table = tabulate(home, declared, declared.part(), file, "a" * 64, code_version="1")

    rows = pq.read_table(home.root / table.path).to_pylist()
    assert [row["osv_id"] for row in rows] == ["O-1", "o-1"]
    assert (table.duplicates, table.rejected) == (0, 1)


WHOLE = contract(
    "osv_id",
    column("range_number", "int64"),
    "package_name",
    column("introduced", trim=False),
    "fixed",
    column("versions", "list[string]", invalid_values="discard_row"),
    key=["osv_id", "range_number", "introduced", "fixed"],
    record_key=["osv_id"],
    invalid_values="discard_value",
    max_rejected_pct=60,
)
NO_UNICODE = "\ud800"


@pytest.mark.fault("half-evaluated")
@pytest.mark.parametrize(
    "second",
    [
        pytest.param(
            {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": NO_UNICODE}]}]}, id="start"
        ),
        pytest.param(
            {"ranges": [{"events": [{"introduced": "2"}, {"fixed": NO_UNICODE}]}]}, id="end"
        ),
        pytest.param({"versions": ["2", NO_UNICODE]}, id="enumerated version"),
        pytest.param(
            {
                "ranges": [{"events": [{"introduced": "2"}]}, {"events": [{"introduced": "3"}]}],
                "versions": [NO_UNICODE],
            },
            id="several rows",
        ),
    ],
)
def test_a_record_is_rejected_whole_for_one_row(
    file: Path, home: Home, second: dict[str, Any]
) -> None:
    broken = record({"introduced": "0"}, {"fixed": "1"})
    broken["affected"].append({"package": {"name": "pear"}} | second)
    pack(file, broken, record({"introduced": "0"}, id="O-2"))

    declared = source(WHOLE, OSV)
    table = tabulate(home, declared, declared.part(), file, "a" * 64, code_version="1")

    rows = pq.read_table(home.root / table.path).to_pylist()
    assert [row["osv_id"] for row in rows] == ["O-2"]
    assert (table.records, table.rejected) == (2, 1)


@pytest.mark.fault("osv-event")
@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"patched": "1.2"}, id="another name"),
        pytest.param({"fixed": "1.2", "patched": "1.3"}, id="beside a known one"),
        pytest.param({"Fixed": "1.2"}, id="another case"),
        pytest.param({"fixed": 1.2}, id="number"),
        pytest.param({"fixed": ["1.2"]}, id="list"),
        pytest.param({"fixed": None}, id="null"),
        pytest.param({}, id="empty"),
        pytest.param("fixed 1.2", id="text"),
        pytest.param(None, id="null event"),
    ],
)
@pytest.mark.parametrize("others", [0, 300], ids=["alone", "among many"])
def test_an_event_that_the_schema_does_not_have_is_a_row_of_its_own(
    file: Path, event: Any, others: int
) -> None:
    plain = [record({"introduced": "0"}, {"fixed": "9"}, id=f"P-{n}") for n in range(others)]
    odd = record({"introduced": "0"}, event, {"fixed": "2"})
    pack(file, *plain, odd, *plain)

    batch = batch_of(file)

    assert batch.rejects == []
    columns = zip(*(batch.columns[n] for n in ("osv_id", "unknown_event")), strict=True)
    assert [text and json.loads(text) for name, text in columns if name == "O-1"] == [event, None]
    assert intervals(batch)[others : others + 2] == [(None, None, None), ("0", "2", None)]
    assert batch.columns["unknown_event"].count(None) >= 2 * others + 1 - (event is None)


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        pytest.param({"summary": 5}, "summary", 5, id="number as text"),
        pytest.param({"published": ["2024"]}, "published_at", ["2024"], id="list as time"),
        pytest.param({"aliases": "A-1"}, "aliases", "A-1", id="text as list"),
        pytest.param({"withdrawn": True}, "withdrawn_at", True, id="boolean as time"),
    ],
)
def test_a_value_of_another_type_is_for_the_contract_to_judge(
    file: Path, fields: dict[str, Any], name: str, value: object
) -> None:
    pack(file, record({"introduced": "0"}), record({"fixed": "2"}, id="O-2", **fields))

    batch = batch_of(file)

    assert batch.rejects == []
    assert intervals(batch) == [("0", None, None), (None, "2", None)]
    assert batch.columns[name] == [None, value]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((b'{"id": "A"', b'"x": 1},{"id": "B"}'), id="object"),
        pytest.param((b'{"id": "A", "x": [{}', b'{}]},{"id": "B"}'), id="list"),
    ],
)
def test_two_broken_records_are_never_read_as_whole_ones(
    file: Path, parts: tuple[bytes, bytes]
) -> None:
    pack(file, *parts)

    batch = batch_of(file)

    assert batch.columns["osv_id"] == []
    assert [reject.where for reject in batch.rejects] == ["1.json", "2.json"]


@pytest.mark.parametrize(
    "member",
    [
        pytest.param({"id": "O-9", "affected": [{"ranges": ["events", "type"]}]}, id="texts"),
        pytest.param({"id": "O-9", "affected": [{"ranges": 1}]}, id="no range"),
        pytest.param({"id": "O-9", "affected": [{"ranges": [{"events": {}}]}]}, id="no events"),
        pytest.param({"id": "O-9", "affected": [{"versions": [1]}]}, id="no versions"),
        pytest.param({"id": "O-9", "affected": [{"package": "pear"}]}, id="no package"),
        pytest.param({"id": "O-9", "affected": [None]}, id="null affected"),
        pytest.param({"id": "O-9", "affected": [{"ranges": [None]}]}, id="null range"),
        pytest.param({"id": None}, id="null id"),
        pytest.param({"affected": []}, id="no id"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"", id="empty"),
        pytest.param(b'{"id": "p\xe4r"}', id="Latin-1"),
        pytest.param(b'{"id": "O-9", "affected": NaN}', id="NaN"),
        pytest.param(b'{"id": "O-9"} x', id="trailing bytes"),
        pytest.param(b'{"id": ' + b"[" * 100_000, id="depth bomb"),
    ],
)
def test_a_malformed_record_is_a_reject_by_its_file(
    file: Path, member: dict[str, Any] | bytes
) -> None:
    pack(file, {"id": "O-1"}, member, {"id": "O-3"})

    batch = batch_of(file)

    assert [reject.where for reject in batch.rejects] == ["2.json"]
    assert batch.columns["osv_id"] == ["O-1", "O-3"]


def test_a_field_the_standard_does_not_know_is_named_where_the_contract_asks(file: Path) -> None:
    pack(file, {"id": "O-1", "details": "known", "ripeness": 1})

    batch = batch_of(file, contract("osv_id", unknown_fields="evolve"))

    assert batch.unknown_fields == {"ripeness"}


def test_a_column_that_the_format_does_not_offer_is_a_wrong_declaration(file: Path) -> None:
    pack(file, {"id": "O-1"})

    with pytest.raises(DeclarationError, match="column ripeness: expected osv to offer it"):
        batch_of(file, contract("osv_id", "ripeness"))


def spoil(file: Path, old: bytes, new: bytes) -> None:
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new))


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2], ids=["lzma", "bzip2"])
def test_a_packing_other_than_deflate_is_refused(file: Path, packing: int) -> None:
    pack(file, {"id": "O-1"}, packing=packing)

    with pytest.raises(ContentError, match=r"1\.json: expected plain deflate"):
        batch_of(file)


def test_a_damaged_record_refuses_the_archive(file: Path) -> None:
    pack(file, {"id": "O-1"}, packing=zipfile.ZIP_STORED)
    spoil(file, b"O-1", b"O-2")

    with pytest.raises(ContentError, match="CRC"):
        batch_of(file)


def test_an_archive_cut_off_is_refused(file: Path) -> None:
    pack(file, {"id": "O-1"})
    file.write_bytes(file.read_bytes()[:-30])

    with pytest.raises(ContentError, match="expected a sound zip"):
        batch_of(file)


def test_a_record_without_a_name_is_read_like_any_other(file: Path) -> None:
    pack(file, b"[]", {"id": "O-2"})
    spoil(file, b"1.json", b"\0.json")

    batch = batch_of(file)

    assert [reject.where for reject in batch.rejects] == ["(no name)"]
    assert batch.columns["osv_id"] == ["O-2"]


def test_a_record_that_is_larger_than_it_declares_is_refused(file: Path) -> None:
    pack(file, {"id": "O-1", "details": "x" * 100_000})
    size = zipfile.ZipFile(file).infolist()[0].file_size
    spoil(file, size.to_bytes(4, "little"), (31).to_bytes(4, "little"))

    with pytest.raises(ContentError, match="expected a sound zip"):
        batch_of(file)


PEAR = {"package": {"ecosystem": "Orchard", "name": "pear"}}
RANGES = {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2"}]}]}
NAMED = contract(
    "osv_id",
    "package_name",
    column("affected_number", "int64"),
    column("lacks_name", "boolean"),
    key=["osv_id", "affected_number"],
    record_key=["osv_id"],
    rules=[
        {
            "name": "names_its_package",
            "when": {"lacks_name": "true"},
            "require": ["package_name"],
        }
    ],
    max_rejected_pct=50,
)
SHA = "a" * 64
COMMITS = {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}, {"fixed": "c0ffee"}]}]}


@pytest.mark.fault("nameless-package")
@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(RANGES, id="no package"),
        pytest.param(RANGES | {"package": None}, id="null"),
        pytest.param(RANGES | {"package": {"ecosystem": "Orchard"}}, id="no name"),
        pytest.param(RANGES | {"package": {"ecosystem": "Orchard", "name": None}}, id="null name"),
        pytest.param(RANGES | {"package": {"ecosystem": "Orchard", "name": ""}}, id="empty name"),
        pytest.param(RANGES | {"package": {"ecosystem": "Orchard", "name": " \u200b"}}, id="blank"),
        pytest.param({"package": {"ecosystem": "Orchard"}}, id="no name and no versions"),
        pytest.param({"versions": ["9"]}, id="enumerated versions"),
        pytest.param(COMMITS | {"versions": ["9"]}, id="commits and versions"),
        pytest.param({"ranges": [*COMMITS["ranges"], *RANGES["ranges"]]}, id="commits and a range"),
    ],
)
@pytest.mark.parametrize("place", [0, 1], ids=["first", "last"])
def test_a_record_about_a_package_without_a_name_is_rejected(
    file: Path, home: Home, entry: dict[str, Any], place: int
) -> None:
    """It could be about the other package, whose statement would be half of the record."""
    affected = [PEAR | RANGES]
    affected.insert(place, entry)
    good = {"affected": [PEAR | RANGES]}
    pack(file, {"id": "O-1", "affected": affected}, {"id": "O-2"} | good, {"id": "O-3"} | good)

    table = tabulate(
        home, source(NAMED, OSV), source(NAMED, OSV).part(), file, SHA, code_version="1"
    )

    rows = pq.read_table(home.root / table.path).to_pylist()
    assert [row["osv_id"] for row in rows] == ["O-2", "O-3"]
    assert table.rejects_by_rule == {"names_its_package": 1}
    assert table.first_rejects[0].startswith("record 1, package_name: expected a value where")


@pytest.mark.parametrize("entry", [COMMITS, COMMITS | {"package": None}, {}, {"severity": []}])
def test_an_entry_that_has_commits_alone_needs_no_package(
    file: Path, entry: dict[str, Any]
) -> None:
    pack(file, {"id": "O-1", "affected": [PEAR | RANGES, entry]})

    batch = batch_of(file)

    assert batch.rejects == []
    assert batch.columns["lacks_name"] == [None, None]


@pytest.mark.fault("bom")
def test_a_record_may_begin_with_a_byte_order_mark(file: Path) -> None:
    pack(file, b"\xef\xbb\xbf" + json.dumps(record({"introduced": "0"})).encode())

    assert batch_of(file).columns["osv_id"] == ["O-1"]
