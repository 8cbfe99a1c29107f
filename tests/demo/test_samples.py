"""Building the mirror that a run fetches from out of the samples."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.demo import samples
from etl_assets.demo.script import Edit
from etl_assets.fetch.digest import parse_digest
from etl_assets.model.errors import DeclarationError, UsageError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COMMON = "plants.example/trees-{partition}"


def a_source(name: str, location: dict[str, Any], **declared: Any) -> Source:
    values: dict[str, Any] = {
        "title": "Trees", "description": "All trees", "producer": "Garden", "required": True,
        "licence": {"name": "CC0-1.0", "attribution": "Garden"},
        "freshness": {"warn_after_hours": 1, "fail_after_hours": 2}, "format": {"name": "csv"},
        "contract": {"columns": [{"name": "tree", "type": "string", "description": "name"}],
                     "key": ["tree"]},
        "location": location, "name": name, "domain": "plants",
    }  # fmt: skip
    return Source.model_validate(values | declared)


def a_domain(*sources: Source) -> Domain:
    return Domain(
        title="Plants", description="All plants", owner="team:garden", schedule="0 5 * * *",
        name="plants", sources={source.name: source for source in sources},
    )  # fmt: skip


YEARLY = a_source(
    "trees",
    {
        "url": "https://plants.example/trees-{partition}.csv.gz",
        "digest": {"url": "https://plants.example/trees-{partition}.meta", "of": "unpacked"},
    },
    partitions={"by": "year", "start": 2024},
)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    folder = tmp_path / "sample"
    for name, text in {
        "plants.example/trees-2025.csv.gz/trees-2025.csv": "tree\noak\n",
        f"{COMMON}.csv.gz/{Path(COMMON).name}.csv": "tree\nfir of {partition}\n",
        "plants.example/all.zip/b/two.csv": "tree\nelm\n",
        "plants.example/all.zip/one.csv": "tree\nash\n",
        "local/shrubs.csv": "tree\nbroom\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_file_is_in_the_mirror_at_its_declared_location(sample: Path, tmp_path: Path) -> None:
    domain = a_domain(a_source("shrubs", {"path": "local/shrubs.csv"}))

    samples.pack(sample, tmp_path / "mirror", domain, at=NOON)

    assert (tmp_path / "mirror/local/shrubs.csv").read_text() == "tree\nbroom\n"
    assert (tmp_path / "mirror/local/shrubs.csv").stat().st_mtime == NOON.timestamp()


def test_a_folder_named_zip_becomes_an_archive(sample: Path, tmp_path: Path) -> None:
    domain = a_domain(a_source("all", {"url": "https://plants.example/all.zip"}))

    [packed] = samples.pack(sample, tmp_path / "mirror", domain, at=NOON)

    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["b/two.csv", "one.csv"]


def test_the_common_sample_is_used_for_years_without_their_own(
    sample: Path, tmp_path: Path
) -> None:
    samples.pack(sample, tmp_path, a_domain(YEARLY), at=NOON)

    packed = sorted((tmp_path / "plants.example").glob("*.gz"))
    assert [gzip.decompress(path.read_bytes()) for path in packed] == [
        b"tree\nfir of 2024\n",
        b"tree\noak\n",
        b"tree\nfir of 2026\n",
    ]


def test_a_declared_digest_is_computed(sample: Path, tmp_path: Path) -> None:
    samples.pack(sample, tmp_path, a_domain(YEARLY), at=NOON)

    stated = (tmp_path / "plants.example/trees-2025.meta").read_text()
    assert parse_digest(stated, "sha256", "") == hashlib.sha256(b"tree\noak\n").hexdigest()


def test_packing_twice_gives_equal_bytes(sample: Path, tmp_path: Path) -> None:
    domain = a_domain(YEARLY, a_source("all", {"url": "https://plants.example/all.zip"}))
    first = samples.pack(sample, tmp_path / "a", domain, at=NOON)

    second = samples.pack(sample, tmp_path / "b", domain, at=NOON + timedelta(days=1))

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_only_a_changed_sample_changes_the_mirror(sample: Path, tmp_path: Path) -> None:
    shrubs = a_source("shrubs", {"path": "local/shrubs.csv"})
    mirror, domain = tmp_path / "mirror", a_domain(YEARLY, shrubs)
    samples.pack(sample, mirror, domain, at=NOON)
    samples.apply_edit(Edit(file="local/shrubs.csv", append="heather\n"), sample)

    changed = samples.pack(sample, mirror, domain, at=NOON + timedelta(days=1))

    assert changed == [mirror / "local/shrubs.csv"]


def test_every_source_without_a_sample_is_named(sample: Path, tmp_path: Path) -> None:
    domain = a_domain(
        *(a_source(name, {"path": f"local/{name}.csv"}) for name in ("herbs", "moss"))
    )

    with pytest.raises(
        UsageError, match=r"plants\.herbs: expected .*herbs\.csv(?s:.*)plants\.moss"
    ):
        samples.pack(sample, tmp_path / "mirror", domain, at=NOON)


def test_a_folder_that_cannot_be_packed_is_named(sample: Path, tmp_path: Path) -> None:
    domain = a_domain(a_source("all", {"path": "local"}))

    with pytest.raises(DeclarationError, match=r"local: expected a folder named \.zip"):
        samples.pack(sample, tmp_path / "mirror", domain, at=NOON)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param({"append": "heather\n"}, "tree\nbroom\nheather\n", id="append"),
        pytest.param({"old": "broom", "new": "gorse"}, "tree\ngorse\n", id="replace"),
        pytest.param({"content": "tree\n"}, "tree\n", id="content"),
        pytest.param({"copy_from": "plants.example/all.zip/one.csv"}, "tree\nash\n", id="copy"),
    ],
)
def test_an_edit_changes_the_file(sample: Path, edit: dict[str, str], expected: str) -> None:
    samples.apply_edit(Edit(file="local/shrubs.csv", **edit), sample)

    assert (sample / "local/shrubs.csv").read_text() == expected


@pytest.mark.parametrize(
    ("file", "old", "message"),
    [
        pytest.param(
            "local/none.csv", "a", r"none\.csv: expected a file of the sample", id="no file"
        ),
        pytest.param("local/shrubs.csv", "gorse", "expected 'gorse' once, found it 0", id="absent"),
        pytest.param("local/shrubs.csv", "o", "expected 'o' once, found it 2 times", id="twice"),
    ],
)
def test_an_edit_that_cannot_be_made_is_named(
    sample: Path, file: str, old: str, message: str
) -> None:
    with pytest.raises(DeclarationError, match=message):
        samples.apply_edit(Edit(file=file, old=old, new="x"), sample)


@pytest.mark.parametrize(
    "ways",
    [
        {},
        {"old": "a"},
        {"new": "a"},
        {"append": "a", "content": "b"},
        {"content": "a", "copy_from": "b"},
    ],
    ids=["none", "old alone", "new alone", "two texts", "text and file"],
)
def test_an_edit_is_one_change(ways: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match="expected one of: old and new; append; content; copy_from"
    ):
        Edit(file="a", **ways)


def test_a_missing_demo_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"demo\.yaml: expected a demo, found no file"):
        samples.read_demo(tmp_path)


def test_a_misspelt_demo_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text(
        "title: A demo\nshow: {from: mart_trees, key: tree, columns: [state]}\n"
        "steps:\n  - say: first\n    edit: []\n"
    )

    with pytest.raises(DeclarationError, match=r"demo\.yaml:5: steps\[0\]\.edit: expected"):
        samples.read_demo(tmp_path)


def test_seeds_of_a_sample_replace_those_of_the_domain_in_a_copy(tmp_path: Path) -> None:
    sample, project = tmp_path / "sample", tmp_path / "dbt"
    (sample / "seeds").mkdir(parents=True)
    (sample / "seeds" / "kinds.csv").write_text("kind\ninvented\n", encoding="utf-8")
    (project / "seeds" / "plants").mkdir(parents=True)
    for name in ("kinds", "names"):
        (project / "seeds" / "plants" / f"{name}.csv").write_text("kind\n", encoding="utf-8")

    copy = samples.overlay_seeds(sample, project, "plants", tmp_path / "copy")

    assert (copy / "seeds" / "plants" / "kinds.csv").read_text("utf-8") == "kind\ninvented\n"
    assert (copy / "seeds" / "plants" / "names.csv").read_text("utf-8") == "kind\n"
    assert (project / "seeds" / "plants" / "kinds.csv").read_text("utf-8") == "kind\n"


def test_a_sample_without_seeds_runs_on_the_project_itself(tmp_path: Path) -> None:
    project = tmp_path / "dbt"

    assert samples.overlay_seeds(tmp_path, project, "plants", tmp_path / "copy") == project
