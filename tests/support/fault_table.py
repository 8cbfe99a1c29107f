"""The faults that the project promises to survive, with their outcomes, for docs/reliability.md.

A test that covers one has the mark `@pytest.mark.fault("<name>", ...)`; `reliability_page.py`
writes the page from both.
"""

from __future__ import annotations

from typing import NamedTuple

OUTAGE = "retried, then an outage: last good file, failed check, `partial_success`"
QUARANTINE = "never a raw asset: quarantined with the reason, the last good file is used"
REFUSED = "refused, with the address in the error"
REFUSED_MEMBER = "refused before extraction, with the member in the error"


class Fault(NamedTuple):
    """One line of the page."""

    name: str
    event: str
    outcome: str


NETWORK = (
    Fault("unreachable", "host name not found, connection refused, connect timeout", OUTAGE),
    Fault("silence", "no response, or the body stops arriving", OUTAGE),
    Fault("reset", "the connection is reset in the middle of the body", OUTAGE),
    Fault("tls", "the TLS handshake fails", OUTAGE),
    Fault(
        "backoff",
        "errors that may be temporary",
        "retried with exponential backoff and full jitter, up to the declared attempts or"
        " `--max-retries`",
    ),
    Fault(
        "outage",
        "the remote stays unavailable",
        "the last good file is used; the check names the source, the error and the file's age",
    ),
    Fault(
        "outage-nothing-held",
        "the remote stays unavailable and no file was ever stored",
        "a required source fails the run, an optional one is an empty table with its columns",
    ),
    Fault(
        "retry-after",
        "429 or 503 with Retry-After, in seconds or as a date",
        "waits that long, up to a limit; all sources of the host wait",
    ),
    Fault("refusal", "401, 403, 404, 410", "not retried"),
    Fault(
        "rate",
        "many requests to one host",
        "limited to the declared rate and number of connections",
    ),
    Fault(
        "circuit",
        "a host that fails again and again",
        "not contacted for the declared time, then tried again",
    ),
    Fault(
        "resume",
        "the body breaks off",
        "resumed by Range with If-Range if there is a strong validator, else restarted",
    ),
    Fault("wrong-length", "a body shorter or longer than Content-Length", QUARANTINE),
    Fault(
        "unasked-part",
        "206 to a request without a range, with a part of the file or without saying which",
        "no file unless its range is the whole file; tried again, then outage",
    ),
    Fault(
        "truncated-gzip",
        "a gzip or xz file that is truncated, damaged, or has trailing data",
        QUARANTINE,
    ),
    Fault(
        "gzip-header",
        "gzip: a reserved flag, a wrong header checksum, a header without an end, or every optional"
        " field, in any member and in pieces of any size",
        "what RFC 1952 forbids is refused by name; the rest is passed over",
    ),
    Fault("truncated-zip", "a truncated zip file", QUARANTINE),
    Fault("digest", "a checksum that differs from the published one", QUARANTINE),
    Fault(
        "validators",
        "ETag missing, weak, or changed with equal bytes; Last-Modified or length changed",
        "any change starts a download, and the hash of the content decides",
    ),
    Fault(
        "no-validator",
        "no validator, or one that is no longer sent",
        "fetched again after the declared interval, or at once; never considered current for ever",
    ),
    Fault("error-page", "200 with an error page or a login page", QUARANTINE),
    Fault(
        "empty-answer",
        "200 with an empty body, `{}` or `[]` where records are expected",
        QUARANTINE,
    ),
    Fault("redirect-loop", "a redirect loop, or too many redirects", REFUSED),
    Fault("redirect-scheme", "a redirect to another scheme, or from https to http", REFUSED),
    Fault("redirect-private", "a redirect of a public source to a private address", REFUSED),
    Fault("dns-private", "a public host name that resolves to a private address", REFUSED),
    Fault(
        "too-large",
        "a body larger than the declared limit, with or without Content-Length",
        "aborted, nothing is stored",
    ),
    Fault("too-slow", "slower than the declared minimum rate", "aborted, nothing is stored"),
    Fault(
        "head-refused",
        "HEAD answered 400, 403, 404, 405 or 501 where GET works",
        "asked again by GET, also for the newest period",
    ),
    Fault(
        "incredible-date",
        "Last-Modified before 1990, as of 1970 or 1980, or in the future",
        "no validator",
    ),
    Fault(
        "older-file",
        "a Last-Modified that goes back",
        "a warning, or an outage where the source declares `if_older: refuse`",
    ),
    Fault(
        "malformed-header",
        "a date, range, location, retry or other header that cannot be read",
        "ignored, or an outage of that source alone",
    ),
    Fault(
        "content-encoding",
        "Content-Encoding on the body",
        "undone, the stored bytes are the file's; an unknown coding is an outage of that source",
    ),
    Fault(
        "drips",
        "a body, header, interim response, chunk extension or trailer that drips",
        "ended by the deadline of the header or of the body; a signal ends the run within five"
        " seconds",
    ),
    Fault(
        "shrinking",
        "fewer rows than the last good file, beyond both declared limits",
        "an outage: the last table is used until the operator accepts that content",
    ),
    Fault(
        "not-yet-published",
        "404 for the newest period, which was never fetched",
        "not yet published; no outage",
    ),
    Fault("unpublished", "404 for a file that was fetched before", "an outage"),
    Fault(
        "no-result",
        "404 for the request of a row, or a good answer without results",
        "no result, counted; no outage",
    ),
    Fault(
        "answer-error",
        "200 with an error object where an answer is expected (a search, a page, a model)",
        "an outage: waited for if its code is 429, shown in its own words; not stored, not paid"
        " for, requested again in the next run; the last good answers are used",
    ),
    Fault(
        "answer-pages",
        "an answer that says that there are more pages",
        "followed up to the declared limit, which is shown where it applies; stored whole or not"
        " at all; pages that repeat, or lead to a forbidden address, are an outage",
    ),
)

FILE = (
    Fault("magic", "first bytes of another format", "quarantined; the error names both formats"),
    Fault("zip-outside", "zip: absolute names, and names that leave the folder", REFUSED_MEMBER),
    Fault("zip-link", "zip: symbolic links", REFUSED_MEMBER),
    Fault("zip-encrypted", "zip: encrypted members", REFUSED_MEMBER),
    Fault("zip-nested", "zip: an archive in the archive", "refused, with the member in the error"),
    Fault(
        "zip-bomb",
        "zip, gzip or xz: a bomb by ratio, by size or by the memory that it needs",
        "refused in bounded memory",
    ),
    Fault(
        "zip-members",
        "zip: more members than declared (1,000 unless declared otherwise)",
        "refused before anything is read",
    ),
    Fault("zip-crc", "zip: a wrong checksum", "refused, with the member in the error"),
    Fault("zip-twice", "zip: a duplicate name", REFUSED_MEMBER),
    Fault("json-trailing", "JSON: bytes after the end", "refused"),
    Fault("json-nan", "JSON: NaN", "refused, or the record rejected"),
    Fault(
        "json-twice",
        "JSON: a duplicate key, also one that is equal only without escapes",
        "all entries of a map of records are read; a record with a field twice is rejected in every"
        " format, also where a part of it that is read has the field twice; values that are not"
        " read are not compared",
    ),
    Fault(
        "json-large",
        "JSON: a record, or a text outside of all records, above `limits.max_record_bytes`",
        "rejected by name, the others are read; it adds at most 2.5 times the limit to the memory"
        " of the reader",
    ),
    Fault(
        "deb822-stanza",
        "deb822: a stanza with a field twice, without a required field, with a line that is no"
        " field, that is not UTF-8, or above `limits.max_record_bytes`",
        "rejected with its line, the others are read",
    ),
    Fault(
        "osv-twice",
        "an archive of records: two of them with one id",
        "the newest one counts whole, of equally new ones the last; the other is counted and shown",
    ),
    Fault(
        "osv-event",
        "an OSV range with an event or a type that the schema does not have, or with a start that"
        " is no version",
        "the statement of the record on that package does not count; counted and shown",
    ),
    Fault(
        "nameless-package",
        "an OSV entry with versions of a package that it does not name",
        "the record rejected whole; an entry that has commits alone is shown and says nothing",
    ),
    Fault(
        "unknown-release",
        "a release that is not in the seed of releases, or is spelled in another way",
        "blanks and case make no other release; a name that could be any release takes the"
        " statement of the record on that package out; all are counted and shown",
    ),
    Fault("json-depth", "JSON: extreme nesting", "refused, or the record rejected; never a crash"),
    Fault(
        "json-endless",
        "JSON: a huge string, a record without an end",
        "refused in bounded memory",
    ),
    Fault("json-top", "JSON: another top-level type than declared", "refused"),
    Fault("json-utf8", "JSON: invalid UTF-8", "the record rejected, or refused"),
    Fault("bom", "JSON and CSV: a byte order mark", "read as the standard says"),
    Fault(
        "csv-ragged", "CSV: rows of another length, NUL", "the row rejected with its line number"
    ),
    Fault("csv-delimiter", "CSV: another delimiter", "refused, with the header in the error"),
    Fault("csv-latin-1", "CSV: bytes that are not UTF-8", "the row rejected with its line number"),
    Fault("excel-password", "Excel: a password", "refused as a protected workbook"),
    Fault("excel-macro", "Excel: macros", "ignored; the cells are read"),
    Fault("excel-formula", "Excel: formula cells", "read as their last computed value"),
    Fault(
        "excel-error-cell",
        "Excel: a cell that is an error (`#REF!`)",
        "the row rejected with sheet, row, column and the error's name; ignored in a column that is"
        " not declared",
    ),
    Fault(
        "excel-no-value",
        "Excel: a formula that was saved without its value",
        "the row rejected with sheet, row and column; the empty text of a formula is a value",
    ),
    Fault(
        "excel-merged",
        "Excel: a cell merged over rows",
        "its value in each row where `merged: fill` is declared, otherwise in the first one",
    ),
    Fault(
        "excel-1904",
        "Excel: the 1904 date system",
        "dates counted from 1904, also those without a date format",
    ),
    Fault("excel-header", "Excel: a merged header, a duplicate name", "refused with sheet and row"),
    Fault("excel-sheet", "Excel: a missing or empty sheet", "refused with the existing sheets"),
    Fault("excel-bomb", "Excel: a zip bomb", "refused before it is read"),
    Fault(
        "excel-far-cell",
        "Excel: a value so far away that the cells before it need too much memory",
        "refused before it is read, with the numbers of rows and columns",
    ),
    Fault(
        "formula",
        "a cell that starts with = + - @",
        "read as text; escaped in files for spreadsheets",
    ),
    Fault(
        "unknown-field",
        "an unknown column or field",
        "a warning, ignored, or the file refused, as declared",
    ),
    Fault("missing-column", "a required column is missing", "refused, with the column"),
    Fault(
        "inexact-integer",
        "a float from 2^53 on, or any other number that is not exact, in an integer column",
        "the row rejected with its line or sheet and row; digits without a fraction are exact in"
        " every format but Excel, which stores floats",
    ),
    Fault(
        "bad-value",
        "a changed type, a malformed id, an invalid date",
        "the row rejected with column, rule, expected and found",
    ),
    Fault(
        "odd-value",
        "a value of another type, an unreadable date or a number out of its bounds in a column that"
        " is neither required nor part of the key",
        "read as null, counted and shown with its line, and the row is kept, as declared"
        " (`invalid_values: discard_value`)",
    ),
    Fault(
        "lost-column",
        "an optional column that vanishes from a file although it had values before",
        "the rows are read without it; a warning names it until a file has the column again",
    ),
    Fault(
        "odd-score",
        "a CVE record with a CVSS score that is no number from 0 to 10",
        "that score is refused, counted and shown; the next valid one counts, the record is kept",
    ),
    Fault(
        "word-as-version",
        "a word in place of a version, such as N/A or TBD",
        "the value is null and the row stays; a warning shows count and lines",
    ),
    Fault(
        "empty-row",
        "a row whose cells are all empty",
        "no row at all; a ruling that was deleted in this way is withdrawn",
    ),
    Fault(
        "half-evaluated",
        "OSV: events out of order, several ranges, a range that cannot be evaluated",
        "the published algorithm decides; a record that cannot be evaluated counts for nothing",
    ),
    Fault(
        "half-statement",
        "a faulty row among rows that are one statement, such as the releases of one package and"
        " CVE in the tracker",
        "all of them are rejected together (`reject_together`), the faulty one counts against the"
        " share of rejects",
    ),
    Fault(
        "look-alike-id",
        "an id in lower case, with another dash or other digits than those of its pattern",
        "the row rejected with its line; in a list of ids counted and shown",
    ),
    Fault(
        "invisible-blank",
        "white space or characters without a width around a text, as they are copied with it",
        "removed; a text of nothing else is null",
    ),
    Fault(
        "respelled-package",
        "a package in upper case that was in lower case, in one feed or in two runs",
        "the same package in decisions, history and gate; the newest spelling is shown",
    ),
    Fault(
        "time-ahead",
        "a date that lies ahead, such as a withdrawal",
        "counts from its time on: the first run after it decides again, without other data",
    ),
    Fault(
        "odd-ruling",
        "a ruling without a version, with a sentinel as version, or with braces in its text",
        "one rejected row, or text as it is; the other rulings apply",
    ),
    Fault("null-key", "a null in a required column", "the row rejected"),
    Fault(
        "duplicate-key",
        "a duplicate key",
        "the later row rejected, or the newest one used, as declared",
    ),
    Fault(
        "odd-row",
        "one odd row in a table of a few rows",
        "rejected, the others are published; a file is refused if it rejects more than both"
        " `max_rejected_pct` and `max_rejected_rows` (1 unless declared otherwise), or all rows",
    ),
    Fault(
        "too-many-rejects",
        "more rejected rows than declared",
        "the file is refused, the last table is used",
    ),
    Fault(
        "hostile-text",
        "markup, quotes, control characters in names and texts",
        "treated as text: not rejected, escaped in HTML and Markdown",
    ),
    Fault(
        "hostile-sql", "quotes and SQL in names and texts", "treated as text: no query is changed"
    ),
    Fault("hostile-name", "path separators in a value that becomes a file name", "percent-encoded"),
    Fault(
        "folded-names",
        "one name in upper and lower case with letters that have several forms: a final sigma, a"
        " Turkish i, a sharp s, an accent in its letter (NFC) or after it (NFD)",
        "one package everywhere; the newest spelling is shown",
    ),
    Fault(
        "long-name",
        "a name of 1,000 characters that becomes a file name, names that differ in case alone",
        "at most 200 bytes with a digest for the rest; never two under one name",
    ),
    Fault(
        "control-characters",
        "control characters in names, texts and messages",
        "escaped before they reach a terminal",
    ),
)

MACHINE = (
    Fault(
        "killed",
        "kill -9 at any moment",
        "the next run completes; readers never see an incomplete file",
    ),
    Fault(
        "many-runs",
        "hundreds of runs, one killed while it removes old ones",
        "the home stops growing; what never moves stays up to date, the next run goes on",
    ),
    Fault(
        "disk-full",
        "the disk is full",
        "an error that says so; temporary files are removed, the published set stays complete",
    ),
    Fault(
        "home-path",
        "a home whose path has brackets, blanks, quotes, or characters that a database refuses",
        "it works, or (with `?`, `%`, `#` or a comma) is refused by name before anything is"
        " written",
    ),
    Fault(
        "altered-output",
        "a published file or a table flipped, truncated, emptied, edited or deleted",
        "found before it is used and made again as a new file; never linked into a new set",
    ),
    Fault(
        "refused-again",
        "the gate refused, and nothing changed since",
        "refused again, exit code 1, until the candidate changes or the operator accepts it",
    ),
    Fault("read-only", "a directory that is not writable", "an error that says what to do"),
    Fault(
        "interrupted",
        "Ctrl-C, SIGTERM",
        "completed work is kept, exit code 130 or 143, the message says how to continue",
    ),
    Fault(
        "foreign-page",
        "a foreign web page, host name or origin requests the pages; a mutation by GET",
        "refused with 403, 405 or 415, web sockets too",
    ),
    Fault(
        "two-runs",
        "two runs of one domain at the same time",
        "the second one waits, or names the process that holds the lock",
    ),
    Fault(
        "two-hosts",
        "two hosts run one domain, with the event log in PostgreSQL",
        "the second one waits, or names the process and the host; neither ends a run of the other",
    ),
    Fault(
        "killed-elsewhere",
        "a process on another host is killed, or stopped",
        "its lock is taken 60 s after its last heartbeat, by the clock of the database; the next"
        " run completes",
    ),
    Fault(
        "overtaken",
        "a process goes on after its lock was taken",
        "it publishes nothing, and its run ends with an error that says so; a table that it"
        " replaces is never published",
    ),
    Fault(
        "database-restarted",
        "the database of the event log is restarted during a run",
        "the run takes its lock again and goes on",
    ),
    Fault(
        "database-stopped",
        "the database of the event log is stopped",
        "an error that names it; the published set stays as it is, the next run completes",
    ),
    Fault(
        "database-connections",
        "the database of the event log has no free connection",
        "an error that says so",
    ),
    Fault(
        "database-full",
        "the disk of the event log's database is full",
        "an error that says so; the published set stays as it is, the next run completes",
    ),
    Fault(
        "pooler",
        "a pooler that shares the sessions of PostgreSQL",
        "refused when a lock is taken, and by `etl health`",
    ),
    Fault(
        "second-home",
        "the event log of another home",
        "refused, with path and host of that home",
    ),
    Fault(
        "worker-lost",
        "a worker is killed with its host, in the fetch, the tables, the marts or the publication",
        "another worker takes up the run 60 s later, and the command that submitted it goes on",
    ),
    Fault(
        "worker-stopped",
        "a worker is stopped until another one has its run, and goes on then",
        "it publishes nothing; the run of the other one completes",
    ),
    Fault(
        "clock-of-worker",
        "the clock of a host differs by more than 5 minutes from that of the database",
        "its runs are refused, with the difference; one whose clock is set in mid-run publishes"
        " nothing",
    ),
    Fault(
        "broker-restarted",
        "the message broker is restarted while a worker executes a run",
        "the run completes; later runs are submitted as before",
    ),
    Fault(
        "broker-stopped",
        "the message broker does not answer",
        "an error that names it; nothing is submitted",
    ),
    Fault(
        "raw-file-lost",
        "a raw file deleted or edited by hand",
        "detected by its hash, reported by `etl manifest verify`, fetched again",
    ),
    Fault(
        "event-log-lost",
        "the event log is lost",
        "`etl manifest restore` rebuilds it; the next run downloads nothing",
    ),
    Fault(
        "corrupt-manifest",
        "a corrupt manifest",
        "an error with its line; never replaced by an empty one",
    ),
    Fault(
        "clock",
        "the clock was set back; two runs in one second",
        "runs stay in order, no directory is overwritten",
    ),
    Fault(
        "secrets",
        "secrets in addresses, headers and settings",
        "read by name from the environment; in no log, event, manifest or report",
    ),
    Fault(
        "missing-secret",
        "a secret that a source needs is missing or empty",
        "an outage of that source, which is not requested; other sources and domains go on",
    ),
    Fault(
        "broken-declaration",
        "a declaration that cannot be read or is wrong",
        "its domain's verbs exit with 2 and name file and line; other verbs work and name the"
        " domain; Dagster loads the other domains",
    ),
    Fault(
        "broken-models",
        "SQL of a domain that dbt cannot parse",
        "the runs of that domain fail; other domains run, and Dagster loads them",
    ),
    Fault(
        "unheard",
        "a notification that cannot be sent",
        "reported, sent after the next run; the run does not fail",
    ),
    Fault(
        "templates",
        "templates and tags in declarations and data",
        "plain text, or refused; nothing is executed",
    ),
)

AREAS = {"The network": NETWORK, "The file": FILE, "The machine": MACHINE}
