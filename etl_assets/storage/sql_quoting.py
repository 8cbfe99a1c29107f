"""Quote names and text in SQL that DuckDB runs, where a prepared statement takes no parameter.

Values of rows are passed as parameters instead, and never quoted.
"""

from __future__ import annotations


def quote_name(name: str) -> str:
    """The name of a table or column as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_path(path: str) -> str:
    """A column, or with dots a field of a struct: `by.source` becomes `"by"."source"`."""
    return ".".join(quote_name(name) for name in path.split("."))


def quote_text(text: str) -> str:
    """Text as a string literal."""
    return "'" + text.replace("'", "''") + "'"
