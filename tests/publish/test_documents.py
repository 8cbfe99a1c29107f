"""Documents are written if their model changed, else linked; they are counted and validated."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.soak_faults import Disk

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError, HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import MANIFEST_FILE, PublishedFile, RunManifest, summarize_files
from etl_assets.publish import documents, run_directory, set_index
from etl_assets.publish.documents import PreviousSet, WrittenDocuments
from etl_assets.storage.hashing import hash_file
from etl_assets.storage.signatures import Signatures, open_signatures

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = '{"required": ["fruits"], "properties": {"fruits": {"items": {"type": "string"}}}}'
DOCUMENTS = [
    Document.model_validate(
        {"file": f"{name}.json", "title": name, "format": "json_envelope", "from": f"mart_{name}"}
    )
    for name in ("trees", "shrubs")
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def marts(tmp_path: Path) -> Path:
    directory = tmp_path / "marts"
    directory.mkdir()
    for document in DOCUMENTS:
        pq.write_table(pa.table({"name": ["a", "b", "c"]}), directory / f"{document.model}.parquet")
    return directory


def a_manifest(run_id: str, written: list[PublishedFile], *, published: bool) -> RunManifest:
    return RunManifest(
        run_id=run_id, domain="plants", status=RunStatus.SUCCESS, published=published,
        as_of=NOON, started_at=NOON, finished_at=NOON, code_version="1",
        documents=summarize_files(written),
    )  # fmt: skip


def run(
    home: Home, marts: Path, *, changed: set[str], as_of: datetime = NOON, published: bool = True
) -> tuple[Path, WrittenDocuments]:
    previous = previous_set(home)
    run_dir = run_directory.create(home, "plants", NOON)
    with open_signatures(home.signatures("plants")) as signatures:
        written = documents.write_documents(
            DOCUMENTS,
            marts,
            run_dir,
            as_of=as_of,
            previous=previous,
            changed=changed,
            signatures=signatures,
        )
    manifest = a_manifest(run_dir.name, written.files, published=published)
    manifest = manifest.model_copy(update={"as_of": as_of})
    documents.publish_candidate(home, run_dir, manifest, written.files)
    return run_dir, written


Progress = list[tuple[str, int, int]]


def write_with_progress(
    home: Home, marts: Path, *, changed: set[str]
) -> tuple[WrittenDocuments, Progress, list[str]]:
    """Return what was written, the calls of the bar, and the documents that were logged."""
    progress: Progress = []
    logged: list[str] = []
    run_dir = run_directory.create(home, "plants", NOON)
    with open_signatures(home.signatures("plants")) as signatures:
        written = documents.write_documents(
            DOCUMENTS,
            marts,
            run_dir,
            as_of=NOON,
            previous=previous_set(home),
            changed=changed,
            signatures=signatures,
            advance=lambda what, done, total: progress.append((what, done, total)),
            log_document=lambda document, files, seconds: logged.append(
                f"{document.file} {len(files)} {seconds >= 0}"
            ),
        )
    documents.find_incomplete_documents(
        DOCUMENTS, marts, run_dir, written,
        advance=lambda what, done, total: progress.append((what, done, total)),
    )  # fmt: skip
    return written, progress, logged


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"mart_trees", "mart_shrubs"}, ["trees.json", "shrubs.json"]),
        ({"mart_trees"}, ["trees.json"]),
        ({"mart_shrubs"}, ["shrubs.json"]),
        (set(), []),
    ],
    ids=["both", "first", "second", "none"],
)
def test_each_document_that_is_written_is_shown_and_logged(
    home: Home, marts: Path, changed: set[str], expected: list[str]
) -> None:
    run(home, marts, changed=set())

    written, progress, logged = write_with_progress(home, marts, changed=changed)

    assert logged == [f"{name} 1 True" for name in expected]
    assert written.linked == {"trees.json", "shrubs.json"} - set(expected)
    assert [what for what, done, _ in progress if what.startswith("writing ") and not done] == [
        f"writing {name}" for name in expected
    ]
    for what in ("documents", documents.READING_BACK):
        assert [call for call in progress if call[0] == what][-1] == (what, 2, 2)


def previous_set(home: Home) -> PreviousSet | None:
    directory = run_directory.published_directory(home, "plants")
    if directory is None:
        return None
    files = set_index.read_index(directory, run_directory.read_manifest(directory))
    return PreviousSet(directory, files, {})


def test_the_first_run_writes_every_document(home: Home, marts: Path) -> None:
    run_dir, written = run(home, marts, changed=set())

    assert [(w.file, w.rows) for w in written.files] == [("trees.json", 3), ("shrubs.json", 3)]
    assert run_directory.published_directory(home, "plants") == run_dir
    assert run_directory.list_files(run_dir) == [
        "SHA256SUMS",
        "index.jsonl",
        "manifest.json",
        "shrubs.json",
        "trees.json",
    ]


def test_an_unchanged_document_is_the_published_file(home: Home, marts: Path) -> None:
    first, _ = run(home, marts, changed=set())

    second, written = run(home, marts, changed={"mart_trees"}, as_of=NOON + timedelta(days=1))

    assert (second / "shrubs.json").samefile(first / "shrubs.json")
    assert "2026-03-01" in (second / "shrubs.json").read_text()
    assert "2026-03-02" in (second / "trees.json").read_text()
    assert [w.rows for w in written.files] == [3, 3]
    assert written.linked == {"shrubs.json"}


@pytest.mark.parametrize("damaged", ["trees.json", "marts/mart_trees.parquet"])
def test_no_part_is_taken_over_from_a_file_with_other_bytes(
    home: Home, marts: Path, damaged: str
) -> None:
    """A signature says that the file is unchanged: rot moves neither size nor time."""
    first, written = run(home, marts, changed=set())
    shutil.copytree(marts, first / "marts", dirs_exist_ok=True)
    mart = first / "marts/mart_trees.parquet"
    sha256 = hash_file(mart)
    keys = {"mart_trees": ("name",)}
    previous = PreviousSet(first, written.files, {}, {"trees.json": sha256}, keys)
    document = next(each for each in DOCUMENTS if each.file == "trees.json")
    signatures = Signatures.load(home.signatures("plants"))
    assert previous.published_document(document, signatures)

    flip_a_byte(first / damaged)

    assert previous.published_document(document, signatures) is None


def flip_a_byte(file: Path) -> None:
    """Change one byte and keep size and modification time."""
    times = file.stat()
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    with file.open("r+b") as handle:
        handle.write(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_refused_candidate_leaves_latest_where_it_was(home: Home, marts: Path) -> None:
    first, _ = run(home, marts, changed=set())

    second, _ = run(home, marts, changed={"mart_trees"}, published=False)

    assert run_directory.published_directory(home, "plants") == first
    assert not run_directory.read_manifest(second).published


def test_a_disk_that_is_full_at_any_write_leaves_no_manifest_that_says_published(
    home: Home,
) -> None:
    disk = Disk(home.root)
    for writes in range(20):
        run_dir = run_directory.create(home, "plants", NOON)
        manifest = a_manifest(run_dir.name, [], published=True)
        disk.fills_after(writes)
        with suppress(HomeError, OSError):
            documents.publish_candidate(home, run_dir, manifest, [])
        is_full = bool(disk.refused)
        disk.fills_after(None)
        if not is_full:
            break

        assert run_directory.published_directory(home, "plants") is None
        assert not (run_dir / MANIFEST_FILE).exists()
        assert not run_directory.is_publication_pending(run_dir)
    assert writes > 5
    assert run_directory.published_directory(home, "plants") == run_dir


def test_a_complete_set_has_no_offender(home: Home, marts: Path) -> None:
    run_dir, written = run(home, marts, changed=set())

    assert documents.find_incomplete_documents(DOCUMENTS, marts, run_dir, written) == []


def test_a_document_without_a_row_is_reported(home: Home, marts: Path) -> None:
    run_dir, written = run(home, marts, changed=set())
    path = run_dir / "trees.json"
    path.chmod(0o644)
    path.write_text(
        path.read_text().replace(',\n{"name":"c"}', "").replace('"count":3', '"count":2')
    )

    [problem] = documents.find_incomplete_documents(DOCUMENTS, marts, run_dir, written)

    assert str(problem) == "trees.json: expected 3 rows of mart_trees, found 2 and 3"


def test_a_document_that_was_not_written_is_reported(home: Home, marts: Path) -> None:
    run_dir, written = run(home, marts, changed=set())

    shrubs = WrittenDocuments(written.files[1:], set())
    problems = documents.find_incomplete_documents(DOCUMENTS, marts, run_dir, shrubs)

    assert [str(p) for p in problems] == [
        "trees.json: expected 3 rows of mart_trees, found 0 and 3"
    ]


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "fruits.schema.json"
    path.write_text(SCHEMA, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"fruits": ["elm"]}', [], id="valid"),
        pytest.param(
            '{"fruits": ["elm", 3]}',
            ['fruits.json: $.fruits[1]: expected type "string", found 3'],
            id="wrong type",
        ),
        pytest.param(
            "{}", ['fruits.json: $: expected required ["fruits"], found {}'], id="missing member"
        ),
    ],
)
def test_violations_of_the_schema_are_reported_with_their_paths(
    tmp_path: Path, schema: Path, text: str, expected: list[str]
) -> None:
    document = tmp_path / "fruits.json"
    document.write_text(text, encoding="utf-8")

    assert [str(problem) for problem in documents.validate_json(document, schema)] == expected


def test_a_document_that_is_not_json_is_a_build_error(tmp_path: Path, schema: Path) -> None:
    document = tmp_path / "fruits.json"
    document.write_text("{", encoding="utf-8")

    with pytest.raises(BuildError, match=r"fruits\.json: expected JSON"):
        documents.validate_json(document, schema)
