"""Documents are written from marts by the writer of their format."""

from __future__ import annotations

import hashlib
import json
import pkgutil
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError, DeclarationError
from etl_assets.publish import writers
from etl_assets.publish.writers import json_envelope
from etl_assets.publish.writers.output import DocumentContext
from etl_assets.publish.writers.registry import FORMATS, find_problems, find_writer
from etl_assets.publish.writers.rows import Rows

AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = {"rows": "plants", "count": "plant_count", "time": "generated_at"}


def a_document(**changes: object) -> Document:
    declared = {
        "file": "plants.json",
        "title": "All plants",
        "format": "json_envelope",
        "from": "mart_plants",
    }
    return Document.model_validate(declared | {"options": NAMES} | changes)


@pytest.fixture
def mart(tmp_path: Path) -> Path:
    table = pa.table(
        {
            "plant": ["oak", "fir"],
            "height_m": [40.5, None],
            "seen_on": [date(2026, 1, 2), None],
            "seen_at": pa.array([1767323045000000, None], pa.timestamp("us")),
            "sources": [["a", "b"], []],
            "evidence": [{"id": "r1"}, None],
            "price": [Decimal("1.50"), None],
        }
    )
    path = tmp_path / "mart_plants.parquet"
    pq.write_table(table, path)
    return path


def write(mart: Path, directory: Path) -> list[object]:
    return list(json_envelope.write(Rows(mart), a_document(), DocumentContext(directory, AS_OF)))


def test_an_envelope_holds_the_rows_in_the_model_s_order(mart: Path, tmp_path: Path) -> None:
    write(mart, tmp_path)

    assert (tmp_path / "plants.json").read_text(encoding="utf-8") == (
        '{"generated_at":"2026-03-01T12:00:00Z","plant_count":2,"plants":[\n'
        '{"plant":"oak","height_m":40.5,"seen_on":"2026-01-02","seen_at":"2026-01-02T03:04:05Z",'
        '"sources":["a","b"],"evidence":{"id":"r1"},"price":1.50},\n'
        '{"plant":"fir","height_m":null,"seen_on":null,"seen_at":null,'
        '"sources":[],"evidence":null,"price":null}\n'
        "]}\n"
    )


def test_the_record_of_a_file_has_its_digest_size_and_rows(mart: Path, tmp_path: Path) -> None:
    [written] = json_envelope.write(Rows(mart), a_document(), DocumentContext(tmp_path, AS_OF))

    content = (tmp_path / "plants.json").read_bytes()
    assert written.sha256 == hashlib.sha256(content).hexdigest()
    assert (written.size_bytes, written.rows) == (len(content), 2)


def test_equal_rows_give_equal_bytes(mart: Path, tmp_path: Path) -> None:
    first = write(mart, tmp_path / "a")

    second = write(mart, tmp_path / "b")

    assert first == second


def test_a_model_without_rows_gives_an_empty_list(mart: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(mart).slice(0, 0), mart)

    write(mart, tmp_path)

    assert json.loads((tmp_path / "plants.json").read_text())["plants"] == []
    assert json_envelope.count_rows(a_document(), tmp_path) == 0


def sown(path: Path, *years: int) -> Path:
    rows = [{"plant": f"oak {number}", "garden": {"year": y}} for number, y in enumerate(years)]
    schema = pa.schema({"plant": pa.string(), "garden": pa.struct({"year": pa.int64()})})
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


@pytest.mark.parametrize(
    ("years", "head"), [((7, 7), {"year": 7}), ((), None)], ids=["rows", "no rows"]
)
def test_a_column_of_equal_values_is_written_once(
    tmp_path: Path, years: tuple[int, ...], head: object
) -> None:
    document = a_document(options=NAMES | {"once": "garden"})
    mart = sown(tmp_path / "m.parquet", *years)

    json_envelope.write(Rows(mart), document, DocumentContext(tmp_path, AS_OF))

    content = json.loads((tmp_path / "plants.json").read_text())
    assert content["garden"] == head
    assert content["plants"] == [{"plant": f"oak {number}"} for number in range(len(years))]
    assert json_envelope.count_rows(document, tmp_path) == len(years)


def test_a_column_of_different_values_is_not_written_once(tmp_path: Path) -> None:
    document = a_document(options=NAMES | {"once": "garden"})
    mart = sown(tmp_path / "m.parquet", 7, 8)

    with pytest.raises(BuildError, match="row 2: expected garden as in the first row"):
        json_envelope.write(Rows(mart), document, DocumentContext(tmp_path, AS_OF))


def test_many_batches_are_one_document(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(10_000)}), tmp_path / "m.parquet")

    json_envelope.write(
        Rows(tmp_path / "m.parquet"), a_document(), DocumentContext(tmp_path, AS_OF)
    )

    assert json_envelope.count_rows(a_document(), tmp_path) == 10_000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            '"plant_count":2',
            '"plant_count":3',
            "plant_count says 3, found 2 rows",
            id="miscounted",
        ),
        pytest.param('"plants"', '"shrubs"', "the member plants, found shrubs", id="other member"),
        pytest.param("\n]}", "", "expected the end of the object", id="cut off"),
        pytest.param("]}\n", "]}\n{}", "expected nothing after the object", id="more"),
        pytest.param("},\n{", "}\n{", "expected a comma before another element", id="no comma"),
        pytest.param('"oak"', "oak", "expected a row, found", id="no row"),
        pytest.param("{", "[", "expected the object's first members", id="no object"),
    ],
)
def test_an_invalid_envelope_is_refused(
    mart: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    write(mart, tmp_path)
    path = tmp_path / "plants.json"
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(BuildError, match=message):
        json_envelope.count_rows(a_document(), tmp_path)


def test_rows_have_the_values_that_arrow_returns(tmp_path: Path) -> None:
    time = pa.timestamp("us", "UTC")
    inner = pa.struct([("at", time), ("on", pa.date32()), ("named", pa.list_(pa.string()))])
    values = [
        {"at": AS_OF, "on": date(2026, 1, 2), "named": ["a", None]},
        None,
        {"at": None, "on": None, "named": None},
    ]
    table = pa.table({"inner": pa.array(values, inner), "at": pa.array([AS_OF, None, AS_OF], time)})
    pq.write_table(table, tmp_path / "m.parquet")

    assert list(Rows(tmp_path / "m.parquet")) == table.to_pylist()


def test_a_missing_mart_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"mart_plants\.parquet: expected the mart"):
        len(Rows(tmp_path / "mart_plants.parquet"))


@pytest.mark.parametrize("version", [None, 1, 12])
def test_an_envelope_has_the_declared_version(
    mart: Path, tmp_path: Path, version: int | None
) -> None:
    options = NAMES if version is None else NAMES | {"format_version": version}
    document = a_document(options=options)

    json_envelope.write(Rows(mart), document, DocumentContext(tmp_path, AS_OF))

    content = json.loads((tmp_path / "plants.json").read_bytes())
    assert content.get("format_version") == version
    assert json_envelope.count_rows(document, tmp_path) == 2


def test_find_writer_returns_the_module_of_the_format() -> None:
    assert find_writer(a_document()) is json_envelope


def test_the_declared_names_of_formats_are_fixed() -> None:
    assert list(FORMATS) == sorted(
        [
            *(
                "change_feed",
                "csaf",
                "csv_table",
                "cyclonedx",
                "json_envelope",
                "json_map",
                "json_record",
            ),
            *("openvex", "osv", "parquet", "plain_text", "site", "vex_repository"),
        ]
    )


def test_every_module_that_writes_is_a_format() -> None:
    names = [module.name for module in pkgutil.iter_modules(writers.__path__)]
    modules = [import_module(f"etl_assets.publish.writers.{name}") for name in names]

    written = [module.__name__.rpartition(".")[2] for module in modules if hasattr(module, "write")]

    assert sorted(written) == list(FORMATS)
    assert all(
        hasattr(import_module(f"etl_assets.publish.writers.{name}"), "count_rows")
        for name in FORMATS
    )


def test_every_wrong_format_and_option_is_reported_at_once() -> None:
    documents = [a_document(format="papyrus"), a_document(options={"row": "x", "count": ""})]

    problems = [str(problem) for problem in find_problems(documents)]

    assert problems == [
        (
            "documents: plants.json: format: "
            f"expected one of the formats {', '.join(FORMATS)}, found papyrus"
        ),
        (
            "documents: plants.json: options.count: "
            "expected String should have at least 1 character, found ''"
        ),
        "documents: plants.json: options.row: expected Extra inputs are not permitted, found 'x'",
    ]


def test_a_document_without_a_writer_is_a_declaration_error() -> None:
    with pytest.raises(DeclarationError, match="papyrus"):
        find_writer(a_document(format="papyrus"))


def test_a_parquet_document_is_the_file_of_the_model(mart: Path, tmp_path: Path) -> None:
    document = a_document(file="tables/Plants.parquet", format="parquet", options={})

    (written,) = find_writer(document).write(Rows(mart), document, DocumentContext(tmp_path, AS_OF))

    assert (tmp_path / "tables/Plants.parquet").samefile(mart)
    assert written.sha256 == hashlib.sha256(mart.read_bytes()).hexdigest()
    assert find_writer(document).count_rows(document, tmp_path) == written.rows == 2


def test_plain_text_is_a_line_per_row(mart: Path, tmp_path: Path) -> None:
    line = "{seen_at} {plant}: {height_m} m"
    document = a_document(file="plants.txt", format="plain_text", options={"line": line})

    find_writer(document).write(Rows(mart), document, DocumentContext(tmp_path, AS_OF))

    text = (tmp_path / "plants.txt").read_text(encoding="utf-8")
    assert text == "2026-01-02T03:04:05Z oak: 40.5 m\n fir:  m\n"
    assert find_writer(document).count_rows(document, tmp_path) == 2


def test_a_line_with_an_unknown_column_is_refused_with_the_existing_ones(
    mart: Path, tmp_path: Path
) -> None:
    options = {"line": "{weight}"}
    document = a_document(file="plants.txt", format="plain_text", options=options)

    with pytest.raises(BuildError, match=r"in braces \(plant, height_m, .*found weight$"):
        find_writer(document).write(Rows(mart), document, DocumentContext(tmp_path, AS_OF))


@pytest.mark.fault("templates")
@pytest.mark.parametrize(
    "line",
    [
        "{plant.__class__.__mro__}", "{plant[0]}", "{plant!r}", "{plant:>999999999}", "{}", "{0}",
        "{plant", "plant}", "{{plant}}", "{plant:{height_m}}",
    ],
)  # fmt: skip
def test_a_brace_with_more_than_a_name_is_refused(line: str) -> None:
    document = a_document(file="plants.txt", format="plain_text", options={"line": line})

    with pytest.raises(DeclarationError, match="expected names of columns alone in braces"):
        find_writer(document)


@pytest.mark.fault("templates")
def test_braces_in_the_data_are_text(tmp_path: Path) -> None:
    mart = tmp_path / "mart.parquet"
    pq.write_table(pa.table({"plant": ["{plant.__class__} {0} \\1 %s"]}), mart)
    document = a_document(file="plants.txt", format="plain_text", options={"line": "{plant}!"})

    find_writer(document).write(Rows(mart), document, DocumentContext(tmp_path, AS_OF))

    assert (tmp_path / "plants.txt").read_text() == "{plant.__class__} {0} \\1 %s!\n"
