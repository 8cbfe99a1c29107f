"""Package URLs are those of packageurl-python."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packageurl import PackageURL
from pydantic import ValidationError

from etl_assets.publish.writers.purl import (
    PackageOptions,
    PackageVersion,
    encode_qualifiers,
    package_url,
)

GARDEN = {"purl_type": "deb", "purl_namespace": "garden"}

NAMES = st.text(alphabet="abcXYZ019+-.~_@%é", min_size=1)
VERSIONS = st.text(alphabet="0123456789abcdeXYZ.:+~-", min_size=1)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("deb", "garden", "oak"), "pkg:deb/garden/oak"),
        (("deb", "garden", "GraphiteMagick", "1.0-1"), "pkg:deb/garden/graphitemagick@1.0-1"),
        (("deb", "garden", "libstdc++", "1:2+e1~rc"), "pkg:deb/garden/libstdc%2B%2B@1:2%2Be1~rc"),
        (("generic", "", "Oak"), "pkg:generic/Oak"),
    ],
)
def test_a_package_url_follows_the_rules_of_its_type(parts: tuple[str, ...], expected: str) -> None:
    assert package_url(*parts) == expected


@pytest.mark.parametrize(
    ("qualifiers", "query"),
    [
        pytest.param({}, "", id="none"),
        pytest.param({"distro": ""}, "", id="no value"),
        pytest.param({"distro": "g-1"}, "?distro=g-1", id="one"),
        pytest.param({"distro": "g 1", "arch": "amd64"}, "?arch=amd64&distro=g%201", id="in order"),
    ],
)
def test_qualifiers_are_sorted_and_encoded(qualifiers: dict[str, str], query: str) -> None:
    url = package_url("deb", "garden", "oak", None, encode_qualifiers(qualifiers))

    assert url == f"pkg:deb/garden/oak{query}"


@given(name=NAMES, version=VERSIONS, distro=st.text(alphabet="abcZ09+-.~:/ &=?%é", min_size=1))
def test_packageurl_python_reads_back_the_parts_and_writes_the_same_url(
    name: str, version: str, distro: str
) -> None:
    query = encode_qualifiers({"distro": distro, "arch": "amd64"})
    url = package_url("deb", "garden", name, version, query)

    parsed = PackageURL.from_string(url)

    assert (parsed.name, parsed.version) == (name.lower(), version)
    assert (parsed.namespace, parsed.qualifiers) == ("garden", {"arch": "amd64", "distro": distro})
    assert parsed.to_string() == url


@pytest.mark.parametrize(
    ("options", "url"),
    [
        pytest.param({}, "pkg:deb/garden/oak", id="no qualifier"),
        pytest.param({"purl_qualifiers": {"arch": "all"}}, "pkg:deb/garden/oak?arch=all", id="new"),
        pytest.param({"purl_distro": "garden"}, "pkg:deb/garden/oak?distro=garden", id="old"),
        pytest.param({"purl_distro": ""}, "pkg:deb/garden/oak", id="old and empty"),
    ],
)
def test_a_url_has_the_declared_qualifiers(options: dict[str, Any], url: str) -> None:
    declared = PackageOptions.model_validate({**GARDEN, **options})

    assert declared.package_url("oak") == url


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"purl_qualifiers": {"Distro": "garden"}}, id="upper-case key"),
        pytest.param({"purl_qualifiers": {"a b": "garden"}}, id="blank in a key"),
        pytest.param({"purl_qualifiers": {"distro": ""}}, id="no value"),
        pytest.param({"purl_qualifiers": "distro"}, id="no mapping"),
        pytest.param({"purl_qualifiers": {}, "purl_distro": "garden"}, id="both names"),
    ],
)
def test_qualifiers_that_are_none_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PackageOptions.model_validate({**GARDEN, **options})


@pytest.mark.parametrize(
    ("version", "purl_epoch", "expected"),
    [
        pytest.param("1:2.0-1", "version", ["@1:2.0-1"], id="in the version"),
        pytest.param("1:2.0-1", "qualifier", ["@2.0-1?epoch=1"], id="as a qualifier"),
        pytest.param("1:2:3-1", "both", ["@1:2:3-1", "@2:3-1?epoch=1"], id="both"),
        pytest.param("0:2.0-1", "both", ["@0:2.0-1", "@2.0-1"], id="an epoch of zero"),
        pytest.param("2.0-1", "both", ["@2.0-1"], id="no epoch"),
        pytest.param(None, "both", [""], id="no version"),
    ],
)
def test_an_epoch_is_written_as_declared(
    version: str | None, purl_epoch: str, expected: list[str]
) -> None:
    options = PackageOptions.model_validate({**GARDEN, "purl_epoch": purl_epoch})

    urls = options.product_urls(PackageVersion("oak", version))

    assert urls == [f"pkg:deb/garden/oak{end}" for end in expected]


def test_a_declared_architecture_stays_beside_an_epoch() -> None:
    options = PackageOptions.model_validate(
        {**GARDEN, "purl_epoch": "both", "purl_qualifiers": {"arch": "amd64"}}
    )

    urls = options.product_urls(PackageVersion("oak", "1:2-1"))
    other = options.product_urls(PackageVersion("oak", "1:2-1", "source"))

    assert urls == [
        "pkg:deb/garden/oak@1:2-1?arch=amd64",
        "pkg:deb/garden/oak@2-1?arch=amd64&epoch=1",
    ]
    assert all("arch=source" in url for url in other)
