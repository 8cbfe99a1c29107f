"""Scores follow from vectors as the specifications of CVSS compute them."""

from __future__ import annotations

import pytest

from etl_assets.publish.writers.cvss import parse_vector


@pytest.mark.parametrize(
    ("vector", "score", "severity"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0, "CRITICAL"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, "CRITICAL"),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:N/A:N", 5.9, "MEDIUM"),
        ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8, "HIGH"),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:R/S:C/C:L/I:L/A:N", 5.4, "MEDIUM"),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1, "MEDIUM"),
        ("CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N", 1.6, "LOW"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0, "NONE"),
        ("AV:N/AC:L/Au:N/C:C/I:C/A:C", 10.0, "HIGH"),
        ("AV:N/AC:L/Au:N/C:P/I:P/A:P", 7.5, "HIGH"),
        ("AV:L/AC:H/Au:M/C:N/I:N/A:P", 0.8, "LOW"),
        ("AV:N/AC:L/Au:N/C:N/I:N/A:N", 0.0, "LOW"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", 10.0, "CRITICAL"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N", 8.7, "HIGH"),
        ("CVSS:4.0/AV:N/AC:H/AT:P/PR:L/UI:N/VC:N/VI:L/VA:N/SC:N/SI:N/SA:N", 2.3, "LOW"),
    ],
)
def test_the_score_of_a_vector_is_that_of_the_specification(
    vector: str, score: float, severity: str
) -> None:
    base = parse_vector(vector)

    assert base is not None
    assert (base.vector, base.score, base.severity) == (vector, score, severity)


@pytest.mark.parametrize(
    ("vector", "base"),
    [
        (
            "CVSS:3.1/AV:N/AC:H/PR:H/UI:N/S:U/C:H/I:H/A:H/E:F/RL:U/RC:C",
            "CVSS:3.1/AV:N/AC:H/PR:H/UI:N/S:U/C:H/I:H/A:H",
        ),
        (
            "CVSS:3.0/S:U/C:H/I:H/A:H/AV:N/AC:H/PR:H/UI:N/MAV:L",
            "CVSS:3.0/AV:N/AC:H/PR:H/UI:N/S:U/C:H/I:H/A:H",
        ),
        ("AV:N/AC:L/Au:N/C:P/I:P/A:P/E:POC/RL:OF", "AV:N/AC:L/Au:N/C:P/I:P/A:P"),
    ],
)
def test_only_the_base_metrics_are_kept(vector: str, base: str) -> None:
    found = parse_vector(vector)

    assert found is not None
    assert found.vector == base


@pytest.mark.parametrize(
    "vector",
    [
        "",
        "9.8",
        "CVSS:3.1/",
        "CVSS:3.1/AV:N/AC:L/Au:N/C:P/I:P/A:P",
        "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        "CVSS:3.1/AV:N/AV:L/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        "CVSS:3.2/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N",
        "CVSS:4.1/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
        "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/",
        "(AV:N/AC:L/Au:N/C:P/I:P/A:P)",
    ],
)
def test_another_text_has_no_score(vector: str) -> None:
    assert parse_vector(vector) is None
