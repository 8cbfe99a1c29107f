"""The number of a document whose standard counts its versions.

Standards that take a version in another form, or none, have no use for it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def revision_of(as_of: datetime) -> int:
    """Microseconds from 1970 to the moment of the content: it rises with every publication.

    No counter would be the same on a replay; the number stays below 2**53 until the year 2255.
    """
    return (as_of - EPOCH) // timedelta(microseconds=1)
