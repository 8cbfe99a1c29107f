"""Faults of the database that has the event log, by name and with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from etl_assets.model.errors import EtlError, HomeError
from etl_assets.storage.postgres import describe_fault


@contextmanager
def database_errors(url: str | None) -> Iterator[None]:
    """Turn an error of the database into a HomeError; without a database, let all errors pass."""
    try:
        yield
    except EtlError:
        raise
    except Exception as error:  # Dagster raises errors of many classes from that of the database
        cause = _find_database_error(error)
        if url is None or cause is None:
            raise
        raise HomeError(describe_fault(url, cause)) from error


def _find_database_error(error: BaseException | None) -> Exception | None:
    """Return the error of the driver, or of SQLAlchemy, that caused another one."""
    while error is not None:
        if isinstance(error, DBAPIError) and isinstance(error.orig, Exception):
            return error.orig
        if isinstance(error, SQLAlchemyError):
            return error
        error = error.__cause__ or error.__context__
    return None
