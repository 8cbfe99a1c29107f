"""Package URLs are those of packageurl-python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packageurl import PackageURL

from etl_assets.publish.writers.purl import package_url

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


def test_a_qualifier_without_a_value_is_left_out() -> None:
    assert package_url("deb", "garden", "oak", distro="") == "pkg:deb/garden/oak"
    assert package_url("deb", "garden", "oak", distro="g-1") == "pkg:deb/garden/oak?distro=g-1"


@given(name=NAMES, version=VERSIONS)
def test_packageurl_python_reads_back_the_parts(name: str, version: str) -> None:
    parsed = PackageURL.from_string(package_url("deb", "garden", name, version, distro="garden"))

    assert (parsed.name, parsed.version) == (name.lower(), version)
    assert (parsed.namespace, parsed.qualifiers) == ("garden", {"distro": "garden"})
