"""Scores of CVSS 2, 3 and 4, computed from their vectors by the library `cvss`.

A document that states vector, score and severity must not contradict itself, so that only the
vector is taken from a source. Which versions a standard knows is decided by its writer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from cvss import CVSS2, CVSS3, CVSS4, CVSSError

Severity = Literal["NONE", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
Version = Literal["2.0", "3.0", "3.1", "4.0"]

CACHE_SIZE = 1 << 14
BASE_2 = ("AV", "AC", "Au", "C", "I", "A")
BASE_3 = ("AV", "AC", "PR", "UI", "S", "C", "I", "A")
VECTOR = re.compile(r"(?:CVSS:(?P<version>3\.0|3\.1|4\.0)/)?(?P<metrics>[A-Za-z]+:[A-Za-z].*)")


@dataclass(frozen=True, slots=True)
class Score:
    """A vector, and the score that follows from it."""

    version: Version
    vector: str
    """Of CVSS 2 and 3 the base metrics alone, in the order of the specification."""
    score: float
    severity: Severity
    """The qualitative rating of the version; of CVSS 2 that of the NVD."""


@lru_cache(CACHE_SIZE)
def parse_vector(vector: str) -> Score | None:
    """The score of a vector of CVSS 2.0, 3.0, 3.1 or 4.0; None for any other text."""
    match = VECTOR.fullmatch(vector)
    if match is None:
        return None
    metrics = dict(part.partition(":")[::2] for part in match["metrics"].split("/"))
    try:
        if match["version"] == "4.0":
            parsed = CVSS4(vector)
            # Threat and environment belong to its score. Out of order, the OSV schema refuses it.
            return _score("4.0", parsed.clean_vector(), parsed)
        if match["version"] is None:
            base = _select(metrics, BASE_2)
            CVSS2(vector)  # refuses a metric that occurs twice, or is unknown
            return _score("2.0", base, CVSS2(base))
        version: Version = "3.1" if match["version"] == "3.1" else "3.0"
        base = f"CVSS:{version}/{_select(metrics, BASE_3)}"
        CVSS3(vector)
        return _score(version, base, CVSS3(base))
    except (CVSSError, KeyError):
        return None


def _select(metrics: dict[str, str], names: tuple[str, ...]) -> str:
    return "/".join(f"{name}:{metrics[name]}" for name in names)


def _score(version: Version, vector: str, parsed: CVSS2 | CVSS3 | CVSS4) -> Score:
    ratings: dict[str, Severity] = {
        "None": "NONE", "Low": "LOW", "Medium": "MEDIUM", "High": "HIGH", "Critical": "CRITICAL",
    }  # fmt: skip
    score = float(parsed.base_score)
    return Score(version, vector, score, ratings[parsed.severities()[0]])
