"""Quote names and text in SQL that DuckDB runs, and compare texts without regard to case.

Values of rows are passed as parameters where a statement takes them, and are not quoted then.
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


def fold_case(text: str) -> str:
    """SQL of a text that is equal for all spellings of a name; the dbt macro `fold_case` is equal.

    Spellings differ in case, or in whether an accent is part of its letter (Unicode's NFC and NFD).

    `lower` alone has two results for one name: a sigma at the end of a word, a Turkish dotted or
    dotless i, and a sharp s, which is SS in upper case, have several lower or upper cases. Other
    letters that become several ones in upper case, such as the ligature of f and i, stay apart.
    """
    folded = f"lower(upper(nfc_normalize({text})))"
    return f"replace(replace({folded}, 'i' || chr(775), 'i'), 'ß', 'ss')"
