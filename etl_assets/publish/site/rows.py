"""The rows that a site is written from: entries on pages, and what explains them.

A page is about one subject, such as a package; an entry is what is decided about one id there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Fact = str | float | bool | None


class Statement(msgspec.Struct, forbid_unknown_fields=True):
    """What one source says about an entry, and what that counts; rank 1 counts most."""

    rank: int
    verdict: Literal["won", "agreed", "lost", "abstained"]
    source: str | None
    claim: str
    rule: str | None
    detail: str | None
    record: str | None
    record_url: str | None


class Period(msgspec.Struct, forbid_unknown_fields=True):
    """A time in which the state of an entry was the same."""

    since: datetime
    until: datetime | None
    state: str
    answer: str | None
    confidence: str | None
    cause: str | None
    source: str | None
    record: str | None


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """Input of the writer: one entry. Its page has it once, at an anchor of its own."""

    page: str
    entry: str
    entry_group: str
    state: str
    state_rank: int
    is_open: bool
    badge: str | None
    answer: str | None
    sentence: str
    action: str | None
    flip: str | None
    entry_url: str | None
    record_url: str | None
    facts: dict[str, Fact]
    rule: str | None
    statements: list[Statement]
    periods: list[Period]


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """One change of an entry."""

    page: str
    entry: str
    changed_at: datetime
    kind: str
    old_state: str | None
    new_state: str | None
    old_answer: str | None
    new_answer: str | None
    is_regression: bool
    cause: str | None
    rule: str | None
    source: str | None
    record: str | None


class Rule(msgspec.Struct, forbid_unknown_fields=True):
    """One kind of claim, and what a rule decides if it wins."""

    claim: str
    priority: int
    rule: str
    title: str
    description: str
    state: str
    confidence: str
    reason: str
    sentence: str


class State(msgspec.Struct, forbid_unknown_fields=True):
    """A state that an entry can have."""

    state: str
    state_rank: int
    description: str
