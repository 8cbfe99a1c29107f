"""What a provider of CSAF documents publishes beside them: names, hashes, lists, feed, metadata.

Sections 5.1 and 7.1 of https://docs.oasis-open.org/csaf/csaf/v2.0/os/csaf-v2.0-os.html
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec
from pydantic import Field

from etl_assets.declarations.declaration import Declaration
from etl_assets.model.file_names import MAX_NAME_BYTES
from etl_assets.model.run_manifest import PUBLIC_KEY_FILE
from etl_assets.publish.run_directory import SIGNATURE_SUFFIX
from etl_assets.publish.writers.output import DocumentContext, DocumentStruct

METADATA_FILE = "provider-metadata.json"
INDEX_FILE = "index.txt"
CHANGES_FILE = "changes.csv"
SECURITY_FILE = "security.txt"
HASHES = ("sha256", "sha512")
LONGEST_SUFFIX = ".json.sha512"
NAME_DIGITS = 8

Tlp = Literal["WHITE", "GREEN", "AMBER", "RED"]
PublisherCategory = Literal["coordinator", "discoverer", "other", "translator", "user", "vendor"]


class ProviderOptions(Declaration):
    """The publisher, where its documents are served, and who may read them."""

    base_url: str = Field(
        pattern=r"^https://[^/?#\s]+(/[^?#\s]*[^/?#\s])?$",
        description="URL, without a slash at its end, at which the published set is served",
    )
    id_prefix: str = Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9+-]+$")
    publisher_name: str = Field(min_length=1)
    publisher_namespace: str = Field(min_length=1)
    publisher_category: PublisherCategory = "vendor"
    publisher_contact: str = Field(default="", description="how to contact the publisher")
    publisher_authority: str = Field(
        default="", description="the publisher's responsibility for its products"
    )
    tlp: Tlp = Field(
        default="WHITE", description="the label of the Traffic Light Protocol of all documents"
    )
    list_on_aggregators: bool = Field(default=True, description="aggregators may list the provider")
    mirror_on_aggregators: bool = Field(
        default=True, description="aggregators may mirror its documents"
    )

    def url(self, folder: str, file: str = "") -> str:
        """The URL of a file in the folder of the documents."""
        return f"{self.base_url}/{quote(folder)}/{file}"

    @property
    def feed_name(self) -> str:
        """The name of the feed, which has the documents of one label."""
        return f"csaf-feed-tlp-{self.tlp.lower()}"

    @property
    def publisher(self) -> Publisher:
        return Publisher(
            category=self.publisher_category,
            contact_details=self.publisher_contact,
            issuing_authority=self.publisher_authority,
            name=self.publisher_name,
            namespace=self.publisher_namespace,
        )


class Publisher(DocumentStruct, kw_only=True):
    """Who publishes the documents."""

    category: PublisherCategory
    contact_details: str = ""
    issuing_authority: str = ""
    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Release:
    """What the lists of a provider say about one document."""

    tracking_id: str
    title: str
    first_released_at: datetime
    last_released_at: datetime

    @property
    def file(self) -> str:
        """The path in the folder of the documents."""
        return document_path(self.tracking_id, self.first_released_at)


class Link(DocumentStruct):
    """A link of a feed or of its entry."""

    rel: Literal["self", "hash", "signature"]
    href: str


class Category(DocumentStruct, omit_defaults=False):
    """What the feed contains, in the terms of ROLIE."""

    scheme: str = "urn:ietf:params:rolie:category:information-type"
    term: str = "csaf"


class Content(DocumentStruct, omit_defaults=False):
    """Where the document is."""

    src: str
    type: str = "application/json"


class Format(DocumentStruct, omit_defaults=False):
    """The schema of the document."""

    schema: str = "https://docs.oasis-open.org/csaf/csaf/v2.0/csaf_json_schema.json"
    version: str = "2.0"


class Entry(DocumentStruct, kw_only=True):
    """One document of a feed."""

    id: str
    title: str
    link: list[Link]
    published: datetime
    updated: datetime
    content: Content
    format: Format


class Feed(DocumentStruct, kw_only=True):
    """The documents of one TLP label: https://www.rfc-editor.org/rfc/rfc8322."""

    id: str
    title: str
    link: list[Link]
    category: list[Category]
    updated: datetime
    entry: list[Entry]


class FeedFile(DocumentStruct):
    """The content of the feed's file."""

    feed: Feed


class FeedLocation(DocumentStruct):
    """Where a feed is."""

    summary: str
    tlp_label: Tlp
    url: str


class Rolie(DocumentStruct):
    """The feeds of a provider."""

    feeds: list[FeedLocation]


class DistributionPoint(DocumentStruct):
    """One way to find all documents."""

    directory_url: str = ""
    rolie: Rolie | None = None


class PublicKey(DocumentStruct):
    """The key with which documents are signed."""

    fingerprint: str
    url: str


class ProviderMetadata(DocumentStruct, kw_only=True):
    """The content of `provider-metadata.json`."""

    canonical_url: str
    distributions: list[DistributionPoint]
    last_updated: datetime
    list_on_aggregators: bool = msgspec.field(name="list_on_CSAF_aggregators")
    metadata_version: Literal["2.0"]
    mirror_on_aggregators: bool = msgspec.field(name="mirror_on_CSAF_aggregators")
    public_openpgp_keys: list[PublicKey] = []
    publisher: Publisher
    role: Literal["csaf_provider", "csaf_trusted_provider"]


def tracking_ids(names: Sequence[str], prefix: str) -> dict[str, str]:
    """The tracking id of the document of each name; no two of them have the same file name.

    An id has digits of the name's digest if its file name would not show the name, as of one with
    other characters, or would be the file name of another one, as of two that differ in case.
    """
    ids = {name: _tracking_id(name, prefix) for name in names}
    counts = Counter(map(file_name, ids.values()))
    return {
        name: tracking_id if counts[file_name(tracking_id)] == 1 else _add_digits(name, prefix)
        for name, tracking_id in ids.items()
    }


def _tracking_id(name: str, prefix: str) -> str:
    # The id lasts for ever (section 3.2.1.12.4): a package in another spelling is the same one.
    lower = _lower(name)
    is_short = len(prefix) + len(lower) + len(LONGEST_SUFFIX) <= MAX_NAME_BYTES
    is_shown = _replace_others(lower) == lower
    return prefix + lower if is_short and is_shown else _add_digits(lower, prefix)


def _add_digits(name: str, prefix: str) -> str:
    digits = hashlib.sha256(name.encode()).hexdigest()[:NAME_DIGITS]
    rest = MAX_NAME_BYTES - len(prefix) - len(LONGEST_SUFFIX) - len(digits) - 1
    # The characters are replaced in the id too: it allows no line breaks.
    return f"{prefix}{_replace_others(name)[:rest]}-{digits}"


def _lower(name: str) -> str:
    # ASCII capitals only: the lower case of a letter such as the Kelvin sign is another letter.
    return re.sub("[A-Z]+", lambda capitals: capitals[0].lower(), name)


def _replace_others(name: str) -> str:
    return re.sub(r"[^+\-A-Za-z0-9]+", "_", name)


def file_name(tracking_id: str) -> str:
    """The file name of a document, by section 5.1."""
    return re.sub(r"[^+\-a-z0-9]+", "_", tracking_id.lower()) + ".json"


def document_path(tracking_id: str, first_released_at: datetime) -> str:
    """The file of a document in the folder of its first year, which a revision does not change."""
    return f"{first_released_at.astimezone(UTC):%Y}/{file_name(tracking_id)}"


def hash_lines(data: bytes, name: str) -> dict[str, bytes]:
    """The content of the file of each hash, by its suffix, as `sha256sum` writes it."""
    return {
        f".{algorithm}": f"{hashlib.new(algorithm, data).hexdigest()}  {name}\n".encode()
        for algorithm in HASHES
    }


def write_lists(
    folder: Path,
    folder_name: str,
    title: str,
    releases: Iterable[Release],
    options: ProviderOptions,
    context: DocumentContext,
) -> list[str]:
    """Write the lists, the feed and the metadata of all documents; returns the files' names.

    They are assembled for the whole, so that they do not depend on which documents were linked.
    """
    newest_first = sorted(releases, key=lambda r: (-r.last_released_at.timestamp(), r.file))
    is_signed = context.signing_key is not None
    feed = _make_feed(folder_name, title, newest_first, options, context.as_of, signed=is_signed)
    metadata_url = options.url(folder_name, METADATA_FILE)
    files = {
        CHANGES_FILE: "".join(
            f'"{release.file}",{msgspec.json.encode(release.last_released_at).decode()}\n'
            for release in newest_first
        ).encode(),
        INDEX_FILE: "".join(f"{name}\n" for name in sorted(r.file for r in newest_first)).encode(),
        METADATA_FILE: _encode(_make_metadata(folder_name, title, options, context)),
        # The line of this file belongs in `/.well-known/security.txt` of the publisher.
        SECURITY_FILE: f"CSAF: {metadata_url}\n".encode(),
        f"{options.feed_name}.json": _encode(FeedFile(feed)),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return sorted(files)


def _make_feed(
    folder: str,
    title: str,
    releases: Sequence[Release],
    options: ProviderOptions,
    as_of: datetime,
    *,
    signed: bool,
) -> Feed:
    entries = []
    for release in releases:
        url = options.url(folder, release.file)
        links = [Link("self", url), *(Link("hash", f"{url}.{name}") for name in HASHES)]
        if signed:
            links.append(Link("signature", url + SIGNATURE_SUFFIX))
        entries.append(
            Entry(
                id=release.tracking_id,
                title=release.title,
                link=links,
                published=release.first_released_at,
                updated=release.last_released_at,
                content=Content(url),
                format=Format(),
            )
        )
    return Feed(
        id=options.feed_name,
        title=title,
        link=[Link("self", options.url(folder, f"{options.feed_name}.json"))],
        category=[Category()],
        updated=releases[0].last_released_at if releases else as_of,
        entry=entries,
    )


def _make_metadata(
    folder: str, title: str, options: ProviderOptions, context: DocumentContext
) -> ProviderMetadata:
    feed = FeedLocation(title, options.tlp, options.url(folder, f"{options.feed_name}.json"))
    key = context.signing_key
    key_url = f"{options.base_url}/{PUBLIC_KEY_FILE}"
    return ProviderMetadata(
        canonical_url=options.url(folder, METADATA_FILE),
        distributions=[
            DistributionPoint(directory_url=options.url(folder)),
            DistributionPoint(rolie=Rolie([feed])),
        ],
        last_updated=context.as_of,
        list_on_aggregators=options.list_on_aggregators,
        metadata_version="2.0",
        mirror_on_aggregators=options.mirror_on_aggregators,
        public_openpgp_keys=[PublicKey(key, key_url)] if key else [],
        publisher=options.publisher,
        # Section 7.2: hashes, signatures and a public key make a trusted provider.
        role="csaf_trusted_provider" if key else "csaf_provider",
    )


def _encode(content: msgspec.Struct) -> bytes:
    return msgspec.json.encode(content) + b"\n"
