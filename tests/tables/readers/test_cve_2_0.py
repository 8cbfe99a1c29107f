"""CVE records cut out of a stream, with the score that counts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.table_declarations import contract

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import CveFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.readers.batch import Batch
from etl_assets.tables.readers.cve_2_0 import MAX_RECORD_BYTES, OFFERED_FIELDS, read

ALL = contract(*OFFERED_FIELDS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "feed"


def document(*records: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"vulnerabilities": [{"cve": cve} for cve in records]} | fields)


def batch_of(file: Path, text: str | bytes, declaration: Contract = ALL) -> Batch:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (batch,) = read(file, CveFormat(name="cve_2_0"), declaration)
    return batch


def metric(score: float, kind: str = "Primary", **fields: Any) -> dict[str, Any]:
    return {"source": "grader", "type": kind, "cvssData": {"baseScore": score}} | fields


def test_a_record_becomes_a_row(file: Path) -> None:
    texts = [{"lang": "es", "value": "Pera"}, {"lang": "en", "value": "Pear"}]
    data = {"version": "3.1", "vectorString": "V", "baseScore": 7.5, "baseSeverity": "HIGH"}
    cve = {
        "id": "CVE-2024-0001",
        "vulnStatus": "Analyzed",
        "published": "2024-01-02T03:04:05.678",
        "lastModified": "2024-02-02T03:04:05.678Z",
        "descriptions": texts,
        "metrics": {"cvssMetricV31": [{"source": "s", "type": "Primary", "cvssData": data}]},
    }

    batch = batch_of(file, document(cve, resultsPerPage=1))

    assert [column[0] for column in batch.columns.values()] == [
        *("CVE-2024-0001", "Analyzed", "2024-01-02T03:04:05.678", "2024-02-02T03:04:05.678Z"),
        *("Pear", "3.1", 7.5, "HIGH", "V", "s"),
    ]


@pytest.mark.parametrize(
    ("metrics", "score"),
    [
        pytest.param({"cvssMetricV2": [metric(2)], "cvssMetricV40": [metric(4)]}, 4, id="4.0"),
        pytest.param({"cvssMetricV30": [metric(3)], "cvssMetricV31": [metric(3.1)]}, 3.1, id="3.1"),
        pytest.param({"cvssMetricV2": [metric(2)], "cvssMetricV30": [metric(3)]}, 3, id="3.0"),
        pytest.param({"cvssMetricV40": [], "cvssMetricV2": [metric(2)]}, 2, id="empty list"),
        pytest.param({"cvssMetricV31": [metric(1, "Secondary"), metric(2)]}, 2, id="primary"),
        pytest.param({"cvssMetricV31": [metric(1, "Secondary")]}, 1, id="secondary alone"),
        pytest.param(
            {"cvssMetricV40": [{"cvssData": {"version": "4.0"}}], "cvssMetricV2": [metric(2)]},
            2,
            id="newest version without a number",
        ),
        pytest.param(
            {"cvssMetricV31": [{"type": "Primary"}, metric(7, "Secondary")]},
            7,
            id="primary score without a number",
        ),
        pytest.param(
            {"cvssMetricV30": [metric(0)], "cvssMetricV2": [metric(2)]}, 0, id="zero is a number"
        ),
        pytest.param({"cvssMetricV31": None, "cvssMetricV2": [{"source": "s"}]}, None, id="none"),
    ],
)
def test_the_newest_version_and_the_primary_score_count(
    file: Path, metrics: dict[str, Any], score: float | None
) -> None:
    batch = batch_of(file, document({"id": "CVE-2024-0001", "metrics": metrics}))

    assert batch.columns["cvss_score"] == [score]


def test_the_rating_of_an_old_score_stands_beside_its_vector(file: Path) -> None:
    metrics = {"cvssMetricV2": [metric(5, baseSeverity="MEDIUM")]}

    batch = batch_of(file, document({"id": "CVE-2001-0001", "metrics": metrics}))

    assert batch.columns["cvss_severity"] == ["MEDIUM"]


@pytest.mark.parametrize(
    "cve",
    [
        pytest.param("7", id="no object"),
        pytest.param("null", id="null"),
        pytest.param('[{"id": "CVE-1"}]', id="list for an object"),
        pytest.param('{"id": "CVE-1", "score": nan}', id="no JSON"),
        pytest.param('{"id": "CVE-1"', id="brace missing"),
        pytest.param('{"id": "CVE-1", "x": ' + "[" * 5_000 + "]" * 5_000 + "}", id="depth bomb"),
    ],
)
def test_a_bad_record_costs_no_other(file: Path, cve: str) -> None:
    text = f'{{"vulnerabilities":[{{"cve":{{"id":"A"}}}},{{"cve":{cve}}},{{"cve":{{"id":"C"}}}}]}}'

    batch = batch_of(file, text)

    assert [reject.where for reject in batch.rejects] == ["record 2"]
    assert batch.columns["cve_id"] == ["A", "C"]
    assert batch.ordinals == [1, 3]


@pytest.mark.fault("odd-score")
@pytest.mark.parametrize("version", ["V40", "V31", "V30"])
@pytest.mark.parametrize(
    ("score", "shown"),
    [
        pytest.param("10.1", "10.1", id="above ten"),
        pytest.param("-0.1", "-0.1", id="below zero"),
        pytest.param("1e300", "1e300", id="large"),
        pytest.param('"7.5"', '"7.5"', id="text"),
        pytest.param("true", "true", id="boolean"),
        pytest.param("NaN", "null", id="NaN"),  # JSON has no word for it
        pytest.param("Infinity", "null", id="infinity"),
        pytest.param("[7.5]", "[7.5]", id="list"),
        pytest.param('{"value": 7.5}', '{"value":7.5}', id="object"),
    ],
)
def test_an_invalid_score_is_refused_and_the_next_one_counts(
    file: Path, version: str, score: str, shown: str
) -> None:
    odd = f'[{{"source": "a", "type": "Primary", "cvssData": {{"baseScore": {score}}}}}]'
    good = '[{"source": "b", "cvssData": {"version": "2.0", "baseScore": 4.5}}]'
    metrics = f'{{"cvssMetric{version}": {odd}, "cvssMetricV2": {good}}}'
    text = f'{{"cve": {{"id": "A", "vulnStatus": "Rejected", "metrics": {metrics}}}}}'

    batch = batch_of(file, f'{{"vulnerabilities":[{text},{{"cve":{{"id":"B"}}}}]}}')

    assert batch.rejects == []
    assert batch.columns["cve_id"] == ["A", "B"]
    assert batch.columns["vuln_status"] == ["Rejected", None]
    assert batch.columns["cvss_score"] == [4.5, None]
    assert batch.columns["cvss_version"] == ["2.0", None]
    assert [refusal[:4] for refusal in batch.refusals] == [
        (0, "cvss_score", "a score from 0 to 10", shown)
    ]


ODD_ENTRIES = ["{}", "null", "7", '"x"', "[[]]", '{"cve": null}', '{"cve": 7}', '{"id": "CVE-1"}']


@pytest.mark.parametrize("odd", ODD_ENTRIES)
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("other", ['{"id":"B"}', '{"id":"B","x":nan}'])
def test_an_entry_that_is_no_record_costs_no_other_wherever_it_is(
    file: Path, odd: str, position: int, other: str
) -> None:
    entries = ['{"cve":{"id":"A"}}', f'{{"cve":{other}}}']
    entries.insert(position, odd)

    batch = batch_of(file, f'{{"vulnerabilities": [{", ".join(entries)}], "resultsPerPage": 3}}')

    bad = [n for n, entry in enumerate(entries, 1) if entry == odd or "nan" in entry]
    assert [reject.where for reject in batch.rejects] == [f"record {n}" for n in bad]
    assert batch.columns["cve_id"] == (["A"] if "nan" in other else ["A", "B"])


def test_entries_around_a_record_that_is_too_large_are_rejected_alone(file: Path) -> None:
    large = json.dumps({"cve": {"id": "LARGE", "x": "x" * 5_000}})
    entries = ["{}", '{"cve":{"id":"A"}}', "null", large, "{}", "7", '{"cve":{"id":"C"}}', "[]"]
    file.write_text(f'{{"vulnerabilities": [{", ".join(entries)}]}}')

    (batch,) = read(file, CveFormat(name="cve_2_0"), ALL, 2_000)

    assert batch.columns["cve_id"] == ["A", "C"]
    assert [reject.where.split()[1] for reject in batch.rejects] == ["1", "3", "4", "5", "6", "8"]


@pytest.mark.parametrize("between", [", ,", ", {} ", ", {,", ", 7 7,"])
def test_a_list_that_is_broken_between_records_is_refused(file: Path, between: str) -> None:
    large = json.dumps({"cve": {"id": "LARGE", "x": "x" * 5_000}})
    text = f'{{"vulnerabilities": [{large}{between}{{"cve":{{"id":"C"}}}}]}}'
    file.write_text(text)

    with pytest.raises(ContentError, match="a comma between records"):
        list(read(file, CveFormat(name="cve_2_0"), ALL, 2_000))


@pytest.mark.fault("odd-score")
@pytest.mark.parametrize("score", [10.5, "9", True])
def test_a_record_with_an_invalid_score_alone_has_none(file: Path, score: object) -> None:
    data = {"version": "3.1", "baseScore": score, "baseSeverity": "HIGH"}
    metrics = {"cvssMetricV31": [{"source": "a", "cvssData": data}]}

    batch = batch_of(file, document({"id": "A", "metrics": metrics}, {"id": "B"}))

    assert batch.columns["cvss_score"] == [None, None]
    assert batch.columns["cvss_severity"] == ["HIGH", None]
    assert [(refusal.row, refusal.column) for refusal in batch.refusals] == [(0, "cvss_score")]


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize(
    ("fields", "column", "value"),
    [
        pytest.param({"published": 2024}, "published_at", 2024, id="number as time"),
        pytest.param({"vulnStatus": ["Rejected"]}, "vuln_status", ["Rejected"], id="list as text"),
        pytest.param(
            {"descriptions": [{"lang": "en", "value": 5}]}, "description", 5, id="deep inside"
        ),
        pytest.param({"id": 7}, "cve_id", 7, id="id"),
    ],
)
def test_a_value_of_another_type_is_for_the_contract_to_judge(
    file: Path, fields: dict[str, Any], column: str, value: object
) -> None:
    batch = batch_of(file, document({"id": "A"} | fields, {"id": "B"}))

    assert batch.rejects == []
    assert batch.columns[column][0] == value


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize(
    ("fields", "column", "shown"),
    [
        pytest.param({"metrics": ["x"]}, "cvss_score", '["x"]', id="metrics"),
        pytest.param({"metrics": {"cvssMetricV40": 4}}, "cvss_score", "4", id="one version"),
        pytest.param(
            {"metrics": {"cvssMetricV40": [{"cvssData": 4}]}}, "cvss_score", "4", id="one score"
        ),
        pytest.param({"descriptions": "text"}, "description", '"text"', id="descriptions"),
        pytest.param({"descriptions": [5]}, "description", "5", id="one description"),
        pytest.param({"descriptions": [None]}, "description", "null", id="null in a list"),
    ],
)
def test_a_part_of_another_structure_is_left_out_and_shown(
    file: Path, fields: dict[str, Any], column: str, shown: str
) -> None:
    batch = batch_of(file, document({"id": "A"} | fields, {"id": "B"}))

    assert batch.rejects == []
    assert batch.columns["cve_id"] == ["A", "B"]
    assert [refusal[:2] + refusal[3:4] for refusal in batch.refusals] == [(0, column, shown)]


@pytest.mark.fault("json-twice")
@pytest.mark.parametrize(
    "entry",
    [
        pytest.param('{"cve": {"id": "B"}, "cve": {"id": "D"}}', id="cve"),
        pytest.param('{"cve": {"id": "B", "published": null, "published": null}}', id="null"),
        pytest.param('{"cve": {"id": "B", "metrics": {}, "metrics": {}}}', id="metrics"),
        pytest.param(
            '{"cve": {"id": "B", "descriptions": [{"lang": "de", "lang": "en"}]}}', id="in a list"
        ),
        pytest.param('{"cve": {"id": "B", "references": [], "references": []}}', id="not read"),
    ],
)
@pytest.mark.parametrize("others", [1, 500], ids=["one group", "many groups"])
def test_a_record_with_a_field_twice_is_rejected(file: Path, entry: str, others: int) -> None:
    filler = [f'{{"cve": {{"id": "A", "x": "{"x" * 500}"}}}}'] * others
    file.write_text(f'{{"vulnerabilities":[{",".join([*filler, entry, *filler])}]}}')

    (batch,) = read(file, CveFormat(name="cve_2_0"), ALL)

    assert [reject.where for reject in batch.rejects] == [f"record {others + 1}"]
    assert "more than once" in batch.rejects[0].actual
    assert batch.columns["cve_id"] == ["A"] * others * 2


@pytest.mark.fault("json-twice")
@pytest.mark.parametrize("member", ['"resultsPerPage": 1', '"vulnerabilities": []'])
def test_a_member_of_the_document_twice_is_refused(file: Path, member: str) -> None:
    text = f'{{{member}, "vulnerabilities": [{{"cve": {{"id": "A"}}}}], "resultsPerPage": 1}}'

    with pytest.raises(ContentError, match="more than once"):
        batch_of(file, text)


@pytest.mark.fault("json-large")
def test_a_record_above_the_limit_is_named_by_its_id(file: Path) -> None:
    records = [{"id": f"CVE-{number}", "x": "x" * 100 * number} for number in (1, 300, 2, 400)]
    file.write_text(document(*records, resultsPerPage=4))

    (batch,) = read(file, CveFormat(name="cve_2_0"), ALL, 20_000)

    assert batch.columns["cve_id"] == ["CVE-1", "CVE-2"]
    assert [reject.where for reject in batch.rejects] == [
        "record 2 (CVE-300)",
        "record 4 (CVE-400)",
    ]


def test_an_entry_with_its_fields_in_another_order_is_read(file: Path) -> None:
    text = '{"vulnerabilities": [{"x": 1, "cve": {"id": "A"}}, {"x": 1}, {"cve": {"id": "C"}}]}'

    batch = batch_of(file, text.replace(', {"cve": {"id": "C"}}', ""))

    assert batch.columns["cve_id"] == ["A"]
    assert [reject.where for reject in batch.rejects] == ["record 2"]


def test_a_null_is_no_wrong_type(file: Path) -> None:
    cve = {"id": "CVE-1", "published": None, "metrics": None, "descriptions": None}

    batch = batch_of(file, document(cve))

    assert batch.columns["published_at"] == [None]


def test_text_that_looks_like_a_record_is_text(file: Path) -> None:
    cve = {"id": "CVE-1", "descriptions": [{"lang": "en", "value": '},{"cve":{"id":"CVE-2"}}]}'}]}

    batch = batch_of(file, document(cve))

    assert batch.columns["cve_id"] == ["CVE-1"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"vulnerabilities": []}', id="plain"),
        pytest.param('\ufeff{"vulnerabilities": [], "resultsPerPage": 0}', id="marked"),
    ],
)
def test_no_records_are_no_rows(file: Path, text: str) -> None:
    batch = batch_of(file, text)

    assert batch.records == 0


def test_fields_may_follow_the_list(file: Path) -> None:
    text = document({"id": "CVE-1"}, resultsPerPage=1, notes=[[], {"a": [1]}])

    batch = batch_of(file, text)

    assert batch.columns["cve_id"] == ["CVE-1"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="list"),
        pytest.param('{"error": "try later"}', id="no list"),
        pytest.param('{"others": [{"cve": {"id": "A"}}]}', id="another list"),
        pytest.param('{"vulnerabilities": [{"cve": {"id": "A"}}]} x', id="trailing bytes"),
        pytest.param('{"vulnerabilities": [{"cve": {"id": "A"}}', id="cut between"),
        pytest.param('{"vulnerabilities": [{"cve": {"id": "A', id="cut inside"),
        pytest.param('{"vulnerabilities": [{"cve": {"id": ' + "[" * 99_999, id="depth bomb"),
        pytest.param(document({"id": "A"}, resultsPerPage=2), id="fewer than promised"),
        pytest.param("<html>" + " " * (MAX_RECORD_BYTES + 1), id="endless"),
    ],
)
def test_what_is_no_such_document_is_refused(file: Path, text: str) -> None:
    with pytest.raises(ContentError, match="expected"):
        batch_of(file, text)


def test_unknown_fields_are_named_where_the_contract_asks(file: Path) -> None:
    text = document({"id": "CVE-1", "weaknesses": [], "affected": []})

    batch = batch_of(file, text, contract("cve_id", unknown_fields="evolve"))

    assert batch.unknown_fields == {"affected"}


def test_gzip_may_have_several_members(file: Path) -> None:
    text = document({"id": "CVE-1"}, {"id": "CVE-2"}).encode()
    packed = gzip.compress(text[:40]) + gzip.compress(text[40:]) + b"\0" * 8

    batch = batch_of(file, packed)

    assert batch.columns["cve_id"] == ["CVE-1", "CVE-2"]


PACKED = gzip.compress(document({"id": "CVE-1"}).encode())


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(PACKED[:-1], id="last byte missing"),
        pytest.param(PACKED[:20], id="cut off"),
        pytest.param(PACKED[:-8] + bytes(8), id="wrong check sum"),
        pytest.param(PACKED + b"junk", id="junk after it"),
    ],
)
def test_a_broken_gzip_is_refused(file: Path, packed: bytes) -> None:
    with pytest.raises(ContentError, match="expected"):
        batch_of(file, packed)


def test_records_come_in_batches_wherever_chunks_end(file: Path) -> None:
    ids = [f"CVE-2024-{number:05}" for number in range(12_000)]
    filler = [{"lang": "en", "value": "x" * 200}]
    text = document(*({"id": id_, "descriptions": filler} for id_ in ids), resultsPerPage=12_000)
    file.write_bytes(gzip.compress(text.encode(), compresslevel=1))

    batches = list(read(file, CveFormat(name="cve_2_0"), ALL))

    assert [cve_id for batch in batches for cve_id in batch.columns["cve_id"]] == ids
    assert [len(batch.ordinals) for batch in batches] == [5_000, 5_000, 2_000]
