"""A run against a server that misbehaves: the last good set stands, and the run says why.

One home for all faults: after each, what is published must be what it was, whatever came before.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass

import pytest
from support import misbehaving_server as faults
from support.misbehaving_server import Fault, MisbehavingServer, run_misbehaving_server
from support.orchard import (
    DOMAIN,
    FIRST,
    HOST,
    Files,
    Orchard,
    create_project,
    list_faults,
    list_temporary_files,
)

from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.storage.hashing import hash_file

TREES, HARVESTS, NOTES = (f"/{HOST}/{n}" for n in ("trees.json.gz", "harvests.csv", "notes.json"))


@dataclass(frozen=True)
class Served:
    """The orchard behind a server, run once."""

    orchard: Orchard
    server: MisbehavingServer

    def published(self) -> dict[str, str]:
        """Digests of the published marts; the one on the sources' health tells of the outage."""
        marts = {p.stem: hash_file(p) for p in self.orchard.latest.glob("marts/*.parquet")}
        return {name: sha256 for name, sha256 in marts.items() if "health" not in name}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with run_misbehaving_server() as server:
        for name, content in Files.create(200).render().items():
            server.publish(f"/{HOST}/{name}", content)
        project = create_project(folder / "project")
        orchard = Orchard(folder / "live", project=project, mirror_url=server.url)
        manifest = orchard.run(RunOptions(as_of=FIRST))
        assert manifest.status is RunStatus.SUCCESS, manifest.note
        yield Served(orchard, server)


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def serves(content: bytes) -> Fault:
    """A fault that answers well, with other content."""
    return lambda handler, _: handler.answer(200, content)


@pytest.mark.long
@pytest.mark.fault(
    "outage", "reset", "silence", "retry-after", "refusal", "wrong-length", "error-page",
    "empty-answer", "redirect-loop", "redirect-scheme", "too-large", "unpublished", "magic",
    "shrinking", "too-many-rejects", "json-trailing", "json-nan", "json-depth", "json-top",
)  # fmt: skip
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        pytest.param(faults.resets_midway, "broke off", id="reset in mid-body"),
        pytest.param(faults.closes_early, "broke off", id="body too short"),
        pytest.param(faults.sends_more, "found at least", id="body too long"),
        pytest.param(faults.sends_less_unframed, "the file is cut off", id="unframed and short"),
        pytest.param(faults.never_answers, "ReadTimeout", id="read timeout"),
        pytest.param(faults.stalls_midway, "ReadTimeout", id="stalls in mid-body"),
        pytest.param(faults.cuts_off, "the file is cut off", id="cut off"),
        pytest.param(faults.asks_for_login, "an HTML page titled 'Sign in'", id="login page"),
        pytest.param(faults.sends_nothing, "an empty file", id="empty body"),
        pytest.param(faults.packs_silently, "expected json, found gzip", id="packed"),
        pytest.param(faults.answers(403), "answered 403", id="403"),
        pytest.param(faults.answers(404), "answered 404", id="404"),
        pytest.param(faults.answers(410), "answered 410", id="410"),
        pytest.param(faults.answers(429, Retry_After="0"), "answered 429", id="429"),
        pytest.param(faults.answers(503), "answered 503", id="503"),
        pytest.param(faults.redirects(NOTES), "redirect loop", id="redirect loop"),
        pytest.param(faults.redirects("file:///etc/hosts"), "an http or https", id="to a file"),
        pytest.param(serves(b"{}"), "at least 1 records", id="no records"),
        pytest.param(serves(b"[]"), "JSON that starts with {", id="wrong top type"),
        pytest.param(serves(b'{"T-1": {"note": NaN}}'), "JSON is malformed", id="NaN"),
        pytest.param(serves(b'{"a": ' * 9_000 + b"}" * 9_000), "expected", id="depth bomb"),
        pytest.param(serves(b'{"T-1": {}} more'), "goes on after its end", id="trailing bytes"),
        pytest.param(serves(b'{"x": "%s"}' % (b"y" * 200_000)), "at most 100,000", id="too large"),
        pytest.param(serves(b'{"T-1": {"note": "one"}}'), "fewer", id="shrunk"),
        pytest.param(serves(b"\x00\x01\x02"), "expected json, found binary", id="binary"),
    ],
)
def test_whatever_is_served_the_last_good_set_stands(
    served: Served, fault: Fault, told: str
) -> None:
    before = served.published()
    served.server.always = {NOTES: fault}

    manifest = served.orchard.run(RunOptions(force_refresh=True))

    [outage] = manifest.outages
    assert (manifest.status, manifest.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert (str(outage.source), outage.status) == (f"{DOMAIN}.notes", FetchStatus.OUTAGE)
    assert told in manifest.note
    assert served.published() == before
    assert not [*list_temporary_files(served.orchard.home), *list_faults(served.orchard.home)]
    assert json.loads((served.orchard.latest / "manifest.json").read_bytes())["published"]


@pytest.mark.long
@pytest.mark.fault("empty-answer", "no-validator")
def test_an_answer_without_body_and_validators_is_not_taken_for_an_unchanged_file(
    served: Served,
) -> None:
    served.server.always = {}
    served.orchard.run()
    served.server.always = {NOTES: faults.sends_nothing}

    manifest = served.orchard.run()

    [outage] = manifest.outages
    assert (str(outage.source), manifest.status) == (f"{DOMAIN}.notes", RunStatus.PARTIAL_SUCCESS)
    assert "an empty file" in manifest.note


def serves_trees(unpacked: bytes, *, pack: Callable[[bytes], bytes] = packed) -> dict[str, Fault]:
    """Another file of trees, and beside it the digest of what it holds."""
    digest = f"sha256:{hashlib.sha256(unpacked).hexdigest()}\n".encode()
    return {TREES: serves(pack(unpacked)), f"/{HOST}/trees.meta": serves(digest)}


@pytest.mark.long
@pytest.mark.fault(
    "truncated-gzip", "digest", "zip-bomb", "missing-column", "csv-delimiter", "error-page",
    "json-utf8", "json-endless",
)  # fmt: skip
@pytest.mark.parametrize(
    ("answers", "told"),
    [
        pytest.param({TREES: faults.cuts_off}, "found it cut off after", id="truncated gzip"),
        pytest.param(
            {TREES: serves(packed(b'{"trees": []}'))},
            "as the SHA-256 of the unpacked bytes, as published",
            id="digest differs",
        ),
        pytest.param(
            {f"/{HOST}/trees.meta": serves(b"sha256:none")}, "found 'sha256:none'", id="no digest"
        ),
        pytest.param(
            serves_trees(b" " * 300_000),
            "at most 200,000 unpacked bytes, found more",
            id="gzip bomb",
        ),
        pytest.param(
            serves_trees(b'{"trees": [{"tree_id": "\xff"}]}'),
            "expected JSON, found 'utf-8' codec",
            id="no UTF-8",
        ),
        pytest.param(
            serves_trees(b'{"trees": "%s"}' % (b"y" * 190_000)),
            "expected a list at 'trees', found",
            id="huge string",
        ),
        pytest.param(
            {HARVESTS: serves(b"tree_id,kilograms\nT-1,4\n")},
            "with year once each",
            id="column missing",
        ),
        pytest.param(
            {HARVESTS: serves(b"tree_id;year;kilograms\n")},
            'found ["tree_id;year;kilograms"]',
            id="delimiter",
        ),
        pytest.param(
            {HARVESTS: faults.asks_for_login}, "an HTML page titled 'Sign in'", id="login page"
        ),
    ],
)
def test_a_file_that_is_not_as_declared_is_refused_whole(
    served: Served, answers: dict[str, Fault], told: str
) -> None:
    before = served.published()
    served.server.always = answers

    manifest = served.orchard.run(RunOptions(force_refresh=True))

    assert (manifest.status, manifest.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert told in manifest.note
    assert served.published() == before
    assert not [*list_temporary_files(served.orchard.home), *list_faults(served.orchard.home)]


@pytest.mark.long
@pytest.mark.fault(
    "csv-ragged", "csv-latin-1", "bad-value", "null-key", "duplicate-key", "hostile-text",
    "formula",
)  # fmt: skip
@pytest.mark.parametrize(
    ("line", "rule"),
    [
        pytest.param(b"T-1,2020", "record", id="ragged"),
        pytest.param(b"T-1,20\x0020,4", "record", id="NUL"),
        pytest.param(b"T-1,2020,\xe9", "type", id="Latin-1"),
        pytest.param(b"T-1,soon,4", "type", id="changed type"),
        pytest.param(b",2020,4", "required", id="null in the key"),
        pytest.param(b"T-2,2024,4", "key", id="key twice"),
        pytest.param(b"=cmd|'/c',2020,4", "pattern", id="formula"),
        pytest.param(b'"<b>\'; drop table x",2020,4', "pattern", id="markup and SQL"),
    ],
)
def test_a_bad_row_is_rejected_and_costs_no_other(served: Served, line: bytes, rule: str) -> None:
    before = served.published()
    good = served.server.files[HARVESTS].content
    served.server.always = {HARVESTS: serves(good + line + b"\n")}

    manifest = served.orchard.run(RunOptions(force_refresh=True))

    [harvests] = [source for source in manifest.sources if source.rejected]
    assert (manifest.status, harvests.rejects_by_rule) == (RunStatus.SUCCESS, {rule: 1})
    assert served.published() == before


@pytest.mark.long
@pytest.mark.fault("unreachable", "outage")
def test_remotes_that_cannot_be_reached_leave_the_published_set(served: Served) -> None:
    before = served.published()
    apart = copy(served.orchard)
    apart.settings = apart.settings.model_copy(update={"mirror": "http://127.0.0.1:1"})

    manifest = apart.run()

    assert [str(outage.source) for outage in manifest.outages] == list_of_sources(apart)
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert "Connection refused" in manifest.note
    assert served.published() == before


def list_of_sources(orchard: Orchard) -> list[str]:
    return [str(source.full_name) for source in orchard.domain.sources.values()]
