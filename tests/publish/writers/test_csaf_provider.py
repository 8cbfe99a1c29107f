"""What a CSAF provider publishes beside its documents."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import DeclarationError
from etl_assets.publish.writers import csaf
from etl_assets.publish.writers.csaf_provider import file_name, tracking_ids
from etl_assets.publish.writers.output import DocumentContext, PublishedDocument
from etl_assets.publish.writers.registry import find_writer
from etl_assets.publish.writers.rows import Rows

JANUARY, MARCH = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
BASE = "https://garden.example/vex"
KEY = "0123456789ABCDEF0123456789ABCDEF01234567"
OPTIONS = {
    "base_url": BASE,
    "id_prefix": "GARDEN-",
    "publisher_name": "Garden",
    "publisher_namespace": "https://garden.example",
    "purl_type": "deb",
}


def a_document(**options: Any) -> Document:
    return Document.model_validate(
        {
            "file": "csaf",
            "title": "Trees",
            "format": "csaf",
            "from": "doc_trees",
            "options": OPTIONS | options,
        }
    )


def a_row(package: str, *, released: datetime = JANUARY) -> dict[str, Any]:
    row = dict.fromkeys(field.name for field in csaf.msgspec.structs.fields(csaf.Row))
    dates = dict.fromkeys(("stated_at", "first_released_at", "last_released_at"), released)
    revisions = [{"released_at": released, "summary": "First publication."}]
    products = [{"name": package, "version": "1-2", "arch": None}]
    state = {"product_status": "fixed", "version": "1-2", "note": "Decided.", "products": products}
    return row | dates | state | {
        "package_name": package, "vulnerability_id": "CVE-2026-900001", "revisions": revisions,
    }  # fmt: skip


def read(context: DocumentContext, name: str) -> Any:
    return json.loads((context.directory / "csaf" / name).read_bytes())


@pytest.mark.parametrize(
    ("tracking_id", "file"),
    [
        ("GARDEN-oak", "garden-oak.json"),
        ("Example Company - 2019-YH3234", "example_company_-_2019-yh3234.json"),
        ("RHBA-2019:0024", "rhba-2019_0024.json"),
        ("2022 #01-A", "2022_01-a.json"),
        ("libstdc++", "libstdc++.json"),
        ("a__b", "a_b.json"),
    ],
)
def test_a_file_is_named_by_section_5_1(tracking_id: str, file: str) -> None:
    assert file_name(tracking_id) == file


@pytest.mark.parametrize("name", ["oak", "libstdc++", "0ad-data", "OpenOak"])
def test_the_id_of_an_ordinary_name_is_the_name(name: str) -> None:
    assert tracking_ids([name], "GARDEN-") == {name: f"GARDEN-{name.lower()}"}


@pytest.mark.parametrize("names", [("oak", "OAK"), ("db5.3", "DB5.3"), ("o" * 250, "O" * 250)])
def test_the_id_of_a_package_in_another_spelling_is_the_same(names: tuple[str, str]) -> None:
    first, second = ([*tracking_ids([name], "GARDEN-").values()] for name in names)

    assert first == second


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("oak1.0", "oak1_0"),
        ("..", "_"),
        ("a/b", "a_b"),
        ("50% più", "50_pi_"),
        ("\x1b[31m\n", "_31m_"),
        ("\N{KELVIN SIGN}elp", "_elp"),
    ],
)
def test_a_name_that_its_file_does_not_show_has_a_digest(name: str, start: str) -> None:
    digits = hashlib.sha256(name.encode()).hexdigest()[:8]

    assert tracking_ids([name], "GARDEN-") == {name: f"GARDEN-{start}-{digits}"}


@pytest.mark.fault("long-name")
@pytest.mark.parametrize(
    "names",
    [
        ["a" * 1_000, "a" * 1_001, "a" * 300],
        ["ü" * 400, "ü" * 401, "ü" * 399 + "ö"],
        ["/" * 90, "/" * 91, "%2F" * 90],
        ["Oak", "oak", "OAK", "oAk"],
        ["A" * 500, "a" * 500],
        [".a" * 200, ".A" * 200],
        ["a.b", "a_b", "a..b", "a__b", "a-b"],
        ["k", "K", "\N{KELVIN SIGN}", "\N{LATIN SMALL LETTER DOTLESS I}", "i", "I"],
    ],
    ids=["long", "not ASCII", "escaped", "case", "long and case", "dots", "folded", "other case"],
)
def test_every_package_has_a_file_of_its_own_of_at_most_200_bytes(names: list[str]) -> None:
    files = [file_name(each) for each in tracking_ids(names, "GARDEN-").values()]

    assert len(set(files)) == len(names)
    assert max(len(f"{file}.sha512") for file in files) <= 200
    assert all(re.fullmatch(r"[+\-a-z0-9_]+\.json", file) for file in files)


def test_a_name_that_is_the_id_of_another_gives_way() -> None:
    other = tracking_ids(["a.b"], "")["a.b"]

    ids = tracking_ids(["a.b", other], "")

    assert len({file_name(each) for each in ids.values()}) == 2


def test_the_newest_document_is_first_in_the_changes(lay, context) -> None:
    csaf.write(lay(a_row("fir"), a_row("oak", released=MARCH)), a_document(), context)

    folder: Path = context.directory / "csaf"
    assert (folder / "index.txt").read_text() == "2026/garden-fir.json\n2026/garden-oak.json\n"
    assert [*csv.reader((folder / "changes.csv").read_text().splitlines())] == [
        ["2026/garden-oak.json", "2026-03-01T00:00:00Z"],
        ["2026/garden-fir.json", "2026-01-01T00:00:00Z"],
    ]


def test_a_document_names_its_own_url(lay, context) -> None:
    csaf.write(lay(a_row("oak")), a_document(), context)

    assert read(context, "2026/garden-oak.json")["document"]["references"] == [
        {
            "category": "self",
            "summary": "The canonical URL of this document",
            "url": f"{BASE}/csaf/2026/garden-oak.json",
        }
    ]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_hash_of_a_document_is_beside_it(lay, context, algorithm: str) -> None:
    csaf.write(lay(a_row("oak")), a_document(), context)

    path: Path = context.directory / "csaf/2026/garden-oak.json"
    digest = hashlib.new(algorithm, path.read_bytes()).hexdigest()
    assert Path(f"{path}.{algorithm}").read_text() == f"{digest}  garden-oak.json\n"


@pytest.mark.parametrize(
    ("key", "rels"),
    [
        pytest.param(None, ["self", "hash", "hash"], id="unsigned"),
        pytest.param(KEY, ["self", "hash", "hash", "signature"], id="signed"),
    ],
)
def test_the_feed_has_an_entry_for_each_document(
    lay, context, key: str | None, rels: list[str]
) -> None:
    rows = lay(a_row("fir"), a_row("oak", released=MARCH))
    context = replace(context, signing_key=key)

    csaf.write(rows, a_document(), context)

    feed = read(context, "csaf-feed-tlp-white.json")["feed"]
    assert feed["link"] == [{"rel": "self", "href": f"{BASE}/csaf/csaf-feed-tlp-white.json"}]
    assert feed["category"] == [
        {"scheme": "urn:ietf:params:rolie:category:information-type", "term": "csaf"}
    ]
    assert feed["updated"] == "2026-03-01T00:00:00Z"
    assert [(e["id"], e["updated"]) for e in feed["entry"]] == [
        ("GARDEN-oak", "2026-03-01T00:00:00Z"),
        ("GARDEN-fir", "2026-01-01T00:00:00Z"),
    ]
    links = feed["entry"][0]["link"]
    assert [link["rel"] for link in links] == rels
    url = f"{BASE}/csaf/2026/garden-oak.json"
    suffixes = ["", ".sha256", ".sha512", ".asc"]
    assert [link["href"] for link in links] == [url + suffix for suffix in suffixes[: len(links)]]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param(None, {"role": "csaf_provider"}, id="unsigned"),
        pytest.param(
            KEY,
            {
                "role": "csaf_trusted_provider",
                "public_openpgp_keys": [{"fingerprint": KEY, "url": f"{BASE}/signing_key.asc"}],
            },
            id="signed",
        ),
    ],
)
def test_the_metadata_names_the_role_and_all_distributions(
    lay, context, key: str | None, expected: dict[str, Any]
) -> None:
    context = replace(context, signing_key=key)
    options = {"publisher_contact": "gardener@garden.example", "mirror_on_aggregators": False}

    csaf.write(lay(a_row("oak")), a_document(**options), context)

    feed = {
        "summary": "Trees",
        "tlp_label": "WHITE",
        "url": f"{BASE}/csaf/csaf-feed-tlp-white.json",
    }
    assert read(context, "provider-metadata.json") == {
        "canonical_url": f"{BASE}/csaf/provider-metadata.json",
        "distributions": [{"directory_url": f"{BASE}/csaf/"}, {"rolie": {"feeds": [feed]}}],
        "last_updated": "2026-03-01T12:00:00Z",
        "list_on_CSAF_aggregators": True,
        "metadata_version": "2.0",
        "mirror_on_CSAF_aggregators": False,
        "publisher": {
            "category": "vendor",
            "name": "Garden",
            "namespace": "https://garden.example",
            "contact_details": "gardener@garden.example",
        },
        **expected,
    }


def test_the_line_of_security_txt_names_the_metadata(lay, context) -> None:
    csaf.write(lay(a_row("oak")), a_document(), context)

    line = (context.directory / "csaf/security.txt").read_text()
    assert line == f"CSAF: {BASE}/csaf/provider-metadata.json\n"


def test_the_label_is_the_same_everywhere(lay, context) -> None:
    csaf.write(lay(a_row("oak")), a_document(tlp="GREEN"), context)

    document = read(context, "2026/garden-oak.json")["document"]
    assert document["distribution"] == {"tlp": {"label": "GREEN"}}
    [_, distribution] = read(context, "provider-metadata.json")["distributions"]
    assert distribution["rolie"]["feeds"][0]["tlp_label"] == "GREEN"
    assert read(context, "csaf-feed-tlp-green.json")["feed"]["id"] == "csaf-feed-tlp-green"


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://garden.example"},
        {"base_url": "https://garden.example/"},
        {"base_url": "https://garden.example/?a=b"},
        {"tlp": "BLUE"},
        {"id_prefix": "a b"},
        {"id_prefix": ""},
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(DeclarationError, match=f"options.{next(iter(options))}"):
        find_writer(a_document(**options))


@pytest.mark.parametrize(
    ("old", "new", "files"),
    [
        pytest.param(
            ["Oak"],
            ["Oak", "oak"],
            {"2026/garden-oak-df877645.json", "2026/garden-oak-cfed998f.json"},
            id="a twin comes",
        ),
        pytest.param(["Oak", "oak"], ["oak"], {"2026/garden-oak.json"}, id="a twin goes"),
        pytest.param(["Oak"], ["oak"], {"2026/garden-oak.json"}, id="another spelling"),
    ],
)
def test_a_document_whose_name_another_package_changes_is_written_again(
    tmp_path: Path, old: list[str], new: list[str], files: set[str]
) -> None:
    marts = {}
    for name, packages in (("old", old), ("new", new)):
        marts[name] = Rows(tmp_path / f"{name}.parquet")
        pq.write_table(pa.Table.from_pylist([*map(a_row, packages)]), marts[name].path)
    context = DocumentContext(tmp_path / "published", MARCH)
    by_name = {file.file: file for file in csaf.write(marts["old"], a_document(), context)}
    key = ("package_name", "vulnerability_id")
    published = PublishedDocument(context.directory, by_name, marts["old"].path, key)

    parts = csaf.write(
        marts["new"], a_document(), DocumentContext(tmp_path / "parts", MARCH, (), published)
    )
    whole = csaf.write(marts["new"], a_document(), DocumentContext(tmp_path / "whole", MARCH))

    assert parts == whole
    folder = tmp_path / "parts/csaf"
    assert {p.relative_to(folder).as_posix() for p in folder.glob("*/*.json")} == files
    assert csaf.count_rows(a_document(), tmp_path / "parts") == len(new)
