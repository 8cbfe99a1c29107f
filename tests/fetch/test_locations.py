"""Addresses of declared locations, with and without a mirror."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from etl_assets.declarations.source import Location
from etl_assets.fetch.local import local_validators
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import NotPublishedError, SecretError, UsageError

HOME = Path("/srv/etl")
URL = "https://feeds.example/v1/{partition}.json"


def test_a_url_is_requested_as_declared() -> None:
    target = LocationResolver(HOME).resolve_target(URL, "2026")

    assert (target.url, target.path) == ("https://feeds.example/v1/2026.json", None)
    assert (target.host, target.is_private) == ("feeds.example", False)
    assert str(target) == "https://feeds.example/v1/2026.json"


@pytest.mark.fault("hostile-name")
def test_a_partition_is_percent_encoded() -> None:
    target = LocationResolver(HOME).resolve_target(URL, "../a b")

    assert target.url == "https://feeds.example/v1/..%2Fa%20b.json"


@pytest.mark.parametrize(
    ("mirror", "url", "path"),
    [
        ("/mnt/mirror", None, Path("/mnt/mirror/feeds.example/v1/2026.json")),
        ("http://10.0.0.1:81/m/", "http://10.0.0.1:81/m/feeds.example/v1/2026.json", None),
    ],
    ids=["directory", "server"],
)
def test_a_mirror_replaces_a_host(mirror: str, url: str | None, path: Path | None) -> None:
    target = LocationResolver(HOME, mirror).resolve_target(URL, "2026")

    assert (target.url, target.path) == (url, path)
    assert target.label == "https://feeds.example/v1/2026.json"
    assert str(target) == f"{target.label} (at {url or path})"


def test_limits_apply_to_the_declared_host_also_with_a_mirror() -> None:
    assert (
        LocationResolver(HOME, "http://10.0.0.1").resolve_target(URL, "1").host == "feeds.example"
    )


def test_a_port_is_part_of_the_host() -> None:
    target = LocationResolver(HOME, "/m").resolve_target("http://feeds.example:8080/a", None)

    assert target.path == Path("/m/feeds.example:8080/a")


@pytest.mark.parametrize(
    ("mirror", "url", "path"),
    [
        (None, None, HOME / "rulings/a.csv"),
        ("/mnt/mirror", None, Path("/mnt/mirror/rulings/a.csv")),
        ("http://10.0.0.1/m", "http://10.0.0.1/m/rulings/a.csv", None),
    ],
    ids=["home", "directory", "server"],
)
def test_a_relative_path_is_in_the_mirror_or_in_the_home(
    mirror: str | None, url: str | None, path: Path | None
) -> None:
    target = LocationResolver(HOME, mirror).resolve_target("rulings/a.csv", None)

    assert (target.url, target.path, target.label) == (url, path, "rulings/a.csv")


def test_an_absolute_path_is_used_as_it_is() -> None:
    assert LocationResolver(HOME, "/mnt/mirror").resolve_target("/srv/a.csv", None).path == Path(
        "/srv/a.csv"
    )


def test_a_query_is_one_file_of_the_mirror() -> None:
    resolver, url = LocationResolver(HOME, "/m"), "https://feeds.example/search?q=One Two"

    target = resolver.resolve_target(url, None, mirror_name="One_Two")

    assert target.path == Path("/m/feeds.example/search/One_Two.json")
    assert resolver.resolve_target(url, None).path == Path(
        "/m/feeds.example/search/q%3DOne%20Two.json"
    )


@pytest.mark.parametrize("mirror", [None, "/m", "http://10.0.0.1"])
@pytest.mark.parametrize("path", ["../a", "a/../../b", "a\0b", "a/{partition}"])
def test_a_path_that_leads_out_is_refused(mirror: str | None, path: str) -> None:
    with pytest.raises(UsageError, match="expected a path that stays inside"):
        LocationResolver(HOME, mirror).resolve_target(path, "../../b")


@pytest.mark.parametrize("mirror", ["/m", "http://10.0.0.1/m"])
@pytest.mark.parametrize("url", ["https://feeds.example/../../etc/passwd", "https://../passwd"])
def test_a_url_that_leads_out_of_the_mirror_is_refused(mirror: str, url: str) -> None:
    with pytest.raises(UsageError, match="expected a path that stays inside"):
        LocationResolver(HOME, mirror).resolve_target(url, None)


@pytest.mark.parametrize(
    "url", ["ftp://h/a", "file:///etc/passwd", "https:///a", "https://[h/a", "https://h:x/a"]
)
def test_another_scheme_or_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="expected an http or https URL with a host"):
        LocationResolver(HOME).resolve_target(url, None)


@pytest.mark.parametrize(
    ("url", "declared", "private"),
    [
        ("https://h.example/a", False, False),
        ("https://h.example/a", True, True),
        ("http://192.168.0.1/a", False, True),
    ],
    ids=["public", "declared private", "private by itself"],
)
def test_a_target_is_private_by_declaration_or_by_address(
    url: str, declared: bool, private: bool
) -> None:
    location = LocationResolver(HOME).resolve(Location(url=url, private=declared), None)

    assert location.file.is_private is private


@pytest.mark.fault("secrets")
def test_a_missing_secret_is_an_error_with_its_name() -> None:
    location = Location.model_validate({"url": URL, "credentials": {"X-Key": {"env": "FEED_KEY"}}})

    with pytest.raises(SecretError, match="FEED_KEY: expected a secret"):
        LocationResolver(HOME).resolve(location, None)


@pytest.mark.parametrize(
    ("digest", "names"),
    [("https://one.example/a.meta", ["X-Key"]), ("https://two.example/a.meta", [])],
    ids=["beside the file", "elsewhere"],
)
def test_a_digest_gets_the_files_credentials_from_its_own_host_only(
    digest: str, names: list[str]
) -> None:
    declared = {
        "url": "https://one.example/a",
        "digest": {"url": digest, "of": "file"},
        "credentials": {"X-Key": {"env": "FEED_KEY", "prefix": "k "}},
    }
    resolver = LocationResolver(HOME, secret=lambda name: SecretStr(name.lower()))

    location = resolver.resolve(Location.model_validate(declared), None)

    assert location.digest is not None
    assert [name for name, _ in location.digest.credentials] == names
    assert location.file.credentials_for("https://one.example:443/b") == {"X-Key": "k feed_key"}
    assert "feed_key" not in repr(location)


def test_a_digest_has_its_own_target() -> None:
    location = Location.model_validate(
        {"url": URL, "digest": {"url": URL.replace("json", "meta"), "of": "file"}}
    )

    location = LocationResolver(HOME).resolve(location, "2026")

    assert location.digest is not None
    assert location.digest.url == "https://feeds.example/v1/2026.meta"


@pytest.mark.fault("secrets")
@pytest.mark.parametrize("mirror", [None, "/m", "http://10.0.0.1/m"])
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://feeds.example/a?api_key=S3CRET&year=2026", "year"),
        ("https://feeds.example/a?year=2026&X-Amz-Signature=S3CRET", "year"),
        ("https://feeds.example/a;jsessionid=S3CRET/b.json", "b.json"),
        ("https://feeds.example/a?q=x%26y;access%5Ftoken=S3CRET", "q"),
        ("https://feeds.example/a?token=S3CRET.json", "token"),
    ],
    ids=["first", "last", "of a segment", "encoded", "with a suffix"],
)
def test_a_secret_parameter_is_in_no_name_of_a_target(
    mirror: str | None, url: str, shown: str
) -> None:
    target = LocationResolver(HOME, mirror).resolve_target(url, None)

    assert "S3CRET" in str(target.url or target.path)
    assert "S3CRET" not in str(target)
    assert shown in str(target)


@pytest.mark.fault("secrets")
@pytest.mark.parametrize(
    "query", ["api_key=S3CRET", "year=2026&token=S3CRET", "signature=S3CRET&n=1"]
)
def test_a_message_on_a_missing_file_of_the_mirror_has_no_secret(
    tmp_path: Path, query: str
) -> None:
    resolver = LocationResolver(HOME, str(tmp_path))
    target = resolver.resolve_target(f"https://feeds.example/a?{query}", None)
    assert target.path is not None

    with pytest.raises(NotPublishedError, match="no such file") as raised:
        local_validators(target, target.path, datetime.now(UTC))

    assert "S3CRET" not in str(raised.value)
    assert "%2A" not in str(raised.value)


@pytest.mark.fault("secrets")
@pytest.mark.parametrize(
    ("mirror", "url"),
    [
        (None, "ftp://h/a?api_key=S3CRET"),
        (None, "https://[h/a?token=S3CRET"),
        ("/m", "https://feeds.example/../../a?api_key=S3CRET"),
        ("/m", "https://feeds.example/../../a;session=S3CRET"),
    ],
    ids=["scheme", "host", "leads out", "leads out, of a segment"],
)
def test_a_refused_address_is_named_without_its_secret(mirror: str | None, url: str) -> None:
    with pytest.raises(UsageError) as raised:
        LocationResolver(HOME, mirror).resolve_target(url, None)

    assert "S3CRET" not in str(raised.value)
