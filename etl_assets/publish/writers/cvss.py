"""Scores of CVSS 2 and 3, computed from their vectors.

A document that states vector, score and severity must not contradict itself, so that only the
vector is taken from a source. The versions that CSAF 2.0 knows are here; 4.0 is not one of them.
https://www.first.org/cvss/v3.1/specification-document#7-4-Metric-Values
https://www.first.org/cvss/v2/guide#3-2-Equations
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Severity = Literal["NONE", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
Version = Literal["2.0", "3.0", "3.1"]

CACHE_SIZE = 1 << 14
BASE_3 = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "PR": {"N": 0.85, "L": 0.62, "H": 0.27},
    "UI": {"N": 0.85, "R": 0.62},
    "S": {"U": 0.0, "C": 1.0},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
PRIVILEGES_OF_CHANGED_SCOPE = {"N": 0.85, "L": 0.68, "H": 0.5}
BASE_2 = {
    "AV": {"L": 0.395, "A": 0.646, "N": 1.0},
    "AC": {"H": 0.35, "M": 0.61, "L": 0.71},
    "Au": {"M": 0.45, "S": 0.56, "N": 0.704},
    "C": {"N": 0.0, "P": 0.275, "C": 0.66},
    "I": {"N": 0.0, "P": 0.275, "C": 0.66},
    "A": {"N": 0.0, "P": 0.275, "C": 0.66},
}
SEVERITIES: tuple[tuple[float, Severity], ...] = (
    (9.0, "CRITICAL"),
    (7.0, "HIGH"),
    (4.0, "MEDIUM"),
    (0.1, "LOW"),
    (0.0, "NONE"),
)


@dataclass(frozen=True, slots=True)
class BaseScore:
    """The base metrics of a vector, and the score that follows from them."""

    version: Version
    vector: str
    """Of the base metrics alone, in the order of the specification."""
    score: float

    @property
    def severity(self) -> Severity:
        """The qualitative rating of CVSS 3."""
        return next(name for least, name in SEVERITIES if self.score >= least)


@lru_cache(CACHE_SIZE)
def parse_vector(vector: str) -> BaseScore | None:
    """The base score of a vector of CVSS 2.0, 3.0 or 3.1; None for any other text."""
    match = re.fullmatch(r"(?:CVSS:(3\.[01])/)?(.+)", vector)
    if match is None:
        return None
    version: Version = "3.1" if match[1] == "3.1" else "3.0" if match[1] else "2.0"
    weights = BASE_3 if match[1] else BASE_2
    metrics: dict[str, str] = {}
    for part in match[2].split("/"):
        name, _, value = part.partition(":")
        if name in metrics:
            return None  # which of the two values counts is not defined
        metrics[name] = value
    if any(metrics.get(name) not in values for name, values in weights.items()):
        return None
    base = "/".join(f"{name}:{metrics[name]}" for name in weights)
    if version == "2.0":
        return BaseScore(version, base, _score_2(metrics))
    return BaseScore(version, f"CVSS:{version}/{base}", _score_3(metrics, version))


def _score_3(metrics: dict[str, str], version: Version) -> float:
    weight = {name: values[metrics[name]] for name, values in BASE_3.items()}
    missing = (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"])
    is_changed = metrics["S"] == "C"
    if is_changed:
        weight["PR"] = PRIVILEGES_OF_CHANGED_SCOPE[metrics["PR"]]
        impact = 7.52 * (1 - missing - 0.029) - 3.25 * (1 - missing - 0.02) ** 15
    else:
        impact = 6.42 * (1 - missing)
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * weight["AV"] * weight["AC"] * weight["PR"] * weight["UI"]
    total = min((1.08 if is_changed else 1.0) * (impact + exploitability), 10.0)
    if version == "3.0":
        return math.ceil(total * 10) / 10
    # Appendix A of 3.1: integers, as 4.02 of 4.0200000001 must not become 4.1.
    scaled = round(total * 100_000)
    return scaled / 100_000 if scaled % 10_000 == 0 else (scaled // 10_000 + 1) / 10


def _score_2(metrics: dict[str, str]) -> float:
    weight = {name: values[metrics[name]] for name, values in BASE_2.items()}
    impact = 10.41 * (1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"]))
    exploitability = 20 * weight["AV"] * weight["AC"] * weight["Au"]
    if not impact:
        return 0.0
    return round((0.6 * impact + 0.4 * exploitability - 1.5) * 1.176, 1)
