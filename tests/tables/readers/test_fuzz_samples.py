"""Every registered reader on broken versions of a sample that a declared source brings.

A reader that is added is here without a line; hand-made samples are `test_readers_fuzz.py`.
"""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mutations import EDITS, Edit, apply_edits, change_content, limit_resources
from support.table_declarations import column, contract, source

from etl_assets.declarations.load import load
from etl_assets.declarations.source import Source
from etl_assets.demo import samples
from etl_assets.model.errors import EtlError
from etl_assets.settings import Settings
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers import registry

Sample = tuple[Source, bytes, Path]
PACKED_AT = datetime(2026, 3, 1, tzinfo=UTC)
PACKAGES = contract(column("name", required=True, **{"from": "Package"}))
# Of formats whose declared source is off.
SAMPLES_WITHOUT_SOURCE = {
    "deb822": (
        source(PACKAGES, {"name": "deb822"}),
        gzip.compress(b"Package: oak\nVersion: 1-1\nDescription: tall\n and old\n\n" * 50),
    ),
}


@pytest.fixture(params=sorted(registry.READER_MODULES), scope="module")
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A source of the format, the largest file of its sample, and a path to write to."""
    place = Settings.load(home=tmp_path_factory.mktemp("home"))
    file = place.home / "file"
    if request.param in SAMPLES_WITHOUT_SOURCE:
        return *SAMPLES_WITHOUT_SOURCE[request.param], file
    candidates = [
        (domain, source)
        for domain in load(place.domains_dir).values()
        for source in domain.sources.values()
        if source.format.name == request.param
    ]
    assert candidates, f"no declared source is read as {request.param}: give this reader a sample"
    domain, source = candidates[0]
    alone = domain.model_copy(update={"sources": {source.name: source}})
    files = samples.pack(place.samples_dir / domain.name, place.home, alone, at=PACKED_AT)
    largest = max(files, key=lambda file: file.stat().st_size)
    return source, largest.read_bytes(), file


def rows_of(sample: Sample, data: bytes) -> int:
    """How many rows hold; none where the project refuses the file, in its own words."""
    source, _, path = sample
    path.write_bytes(data)
    checker = ContractChecker(source.contract)
    with limit_resources():
        try:
            batches = registry.read(path, source.format, source.contract)
            return sum(checker.check(batch).rows.num_rows for batch in batches)
        except EtlError:
            return 0


def test_the_sample_itself_is_read(sample: Sample) -> None:
    assert rows_of(sample, sample[1]) > 0


@given(edits=EDITS)
@settings(max_examples=60)
def test_broken_bytes(sample: Sample, edits: list[Edit]) -> None:
    rows_of(sample, apply_edits(sample[1], edits))


@given(edits=EDITS)
@settings(max_examples=60)
def test_well_packed_bytes_that_are_broken_inside(sample: Sample, edits: list[Edit]) -> None:
    rows_of(sample, change_content(sample[1], lambda data: apply_edits(data, edits)))


@given(data=st.binary(max_size=300))
@settings(max_examples=40)
def test_any_bytes(sample: Sample, data: bytes) -> None:
    rows_of(sample, change_content(sample[1], lambda _: data))
