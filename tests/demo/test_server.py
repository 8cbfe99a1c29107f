"""The mirror server behaves like a good upstream."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from etl_assets.demo.server import MirrorServer, serving

CONTENT = b"0123456789"


@pytest.fixture
def mirror_server(tmp_path: Path) -> Iterator[MirrorServer]:
    folder = tmp_path / "mirror" / "feeds.example"
    folder.mkdir(parents=True)
    (folder / "a b.json").write_bytes(CONTENT)
    (folder / "a.csv.gz").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "secret").write_bytes(b"outside")
    with serving(tmp_path / "mirror") as server:
        yield server


@pytest.fixture
def web(mirror_server: MirrorServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{mirror_server.url}/feeds.example", trust_env=False) as client:
        yield client


def test_a_file_is_served_with_its_validators(web: httpx.Client) -> None:
    answer = web.get("/a b.json")

    assert answer.content == CONTENT
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == "10"
    assert answer.headers["ETag"].startswith('"')
    assert "Last-Modified" in answer.headers


def test_head_returns_the_same_headers_without_a_body(web: httpx.Client) -> None:
    head, get = web.head("/a b.json"), web.get("/a b.json")

    assert head.content == b""
    assert head.headers["ETag"] == get.headers["ETag"]
    assert head.headers["Content-Length"] == "10"


@pytest.mark.parametrize("prefix", ["", "W/", '"other", '])
def test_a_known_etag_is_not_sent_again(web: httpx.Client, prefix: str) -> None:
    etag = prefix + web.head("/a b.json").headers["ETag"]

    answer = web.get("/a b.json", headers={"If-None-Match": etag})

    assert (answer.status_code, answer.content) == (304, b"")


def test_a_known_date_is_not_sent_again(web: httpx.Client) -> None:
    changed = web.head("/a b.json").headers["Last-Modified"]

    assert web.get("/a b.json", headers={"If-Modified-Since": changed}).status_code == 304


def test_the_etag_follows_the_content(web: httpx.Client, mirror_server: MirrorServer) -> None:
    path = mirror_server.directory / "feeds.example" / "a b.json"
    before = web.head("/a b.json").headers["ETag"]
    path.write_bytes(b"9876543210 and more")
    changed_etag = web.head("/a b.json").headers["ETag"]
    path.write_bytes(CONTENT)

    assert changed_etag != before
    assert web.head("/a b.json").headers["ETag"] == before


@pytest.mark.parametrize(
    ("byte_range", "content", "content_range"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
    ],
)
def test_a_range_is_served(
    web: httpx.Client, byte_range: str, content: bytes, content_range: str
) -> None:
    answer = web.get("/a b.json", headers={"Range": byte_range})

    assert (answer.status_code, answer.content) == (206, content)
    assert answer.headers["Content-Range"] == content_range


@pytest.mark.parametrize("byte_range", ["bytes=1-2,4-5", "lines=1-2", "bytes=x-y", "bytes"])
def test_an_unsupported_range_returns_the_whole_file(web: httpx.Client, byte_range: str) -> None:
    answer = web.get("/a b.json", headers={"Range": byte_range})

    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_a_range_behind_the_end_is_refused(web: httpx.Client) -> None:
    answer = web.get("/a b.json", headers={"Range": "bytes=10-"})

    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */10")


@pytest.mark.parametrize(("condition", "status"), [("ETag", 206), ("Last-Modified", 206)])
def test_a_range_is_served_while_the_file_is_the_same(
    web: httpx.Client, condition: str, status: int
) -> None:
    validator = web.head("/a b.json").headers[condition]

    answer = web.get("/a b.json", headers={"Range": "bytes=5-", "If-Range": validator})

    assert answer.status_code == status


def test_a_range_of_another_version_returns_the_whole_file(web: httpx.Client) -> None:
    answer = web.get("/a b.json", headers={"Range": "bytes=5-", "If-Range": '"other"'})

    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_an_archive_is_served_without_content_encoding(web: httpx.Client) -> None:
    answer = web.get("/a.csv.gz")

    assert answer.headers["Content-Type"] == "application/gzip"
    assert "Content-Encoding" not in answer.headers
    assert gzip.decompress(answer.content) == CONTENT


@pytest.mark.parametrize(
    "path", ["/feeds.example/absent", "/feeds.example", "/../secret", "/%2e%2e/secret", "//secret"]
)
def test_only_files_inside_the_directory_are_found(mirror_server: MirrorServer, path: str) -> None:
    host, port = mirror_server.server_address[:2]
    with socket.create_connection((str(host), port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = connection.recv(1 << 16)

    assert answer.startswith(b"HTTP/1.1 404")
    assert b"outside" not in answer


def test_it_listens_on_the_loopback_address_only(mirror_server: MirrorServer) -> None:
    assert mirror_server.server_address[0] == "127.0.0.1"
    assert mirror_server.url.startswith("http://127.0.0.1:")


def test_dates_are_those_of_the_files(web: httpx.Client) -> None:
    changed = web.head("/a b.json").headers["Last-Modified"]

    assert str(datetime.now(UTC).year) in changed
