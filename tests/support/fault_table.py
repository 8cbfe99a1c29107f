"""What bad input gets: every fault that the house promises to survive, in the words of the promise.

A test that holds one bears `@pytest.mark.fault("<name>", ...)`; `reliability.py` joins the two.
"""

from __future__ import annotations

from typing import NamedTuple

OUTAGE = "tried again, then an outage: last good file, red check, `partial_success`"
QUARANTINE = "never a raw asset: quarantined with the reason, the last good file stands"


class Fault(NamedTuple):
    """One line of the promise."""

    name: str
    what: str
    outcome: str


NETWORK = (
    Fault("unreachable", "name not found, connection refused, connect timeout", OUTAGE),
    Fault("silence", "no answer, or silence in mid-body", OUTAGE),
    Fault("reset", "the connection is reset in mid-body", OUTAGE),
    Fault("tls", "the TLS handshake fails", OUTAGE),
    Fault(
        "backoff",
        "failures that may pass",
        "waits double with full jitter, up to the declared attempts; a person may say how many",
    ),
    Fault(
        "outage",
        "the remote stays away",
        "the last good file is served, the check names source, fault and age",
    ),
    Fault(
        "outage-nothing-held",
        "the remote stays away and nothing was ever held",
        "a required source fails the run, an optional one is a typed empty table",
    ),
    Fault(
        "retry-after",
        "429 or 503 with Retry-After, in seconds or as a date",
        "waits that long, capped; every source of that host waits",
    ),
    Fault("refusal", "401, 403, 404, 410", "not tried again"),
    Fault(
        "rate", "many requests to one host", "kept apart as declared, and at most so many at once"
    ),
    Fault(
        "circuit",
        "a host that fails again and again",
        "paused for a declared time, then requested again",
    ),
    Fault(
        "resume",
        "the body breaks off",
        "resumed by Range with If-Range where a strong validator allows it, else anew",
    ),
    Fault("wrong-length", "a body shorter or longer than Content-Length", QUARANTINE),
    Fault("truncated-gzip", "a gzip file that breaks off, is damaged, or goes on", QUARANTINE),
    Fault("truncated-zip", "a zip file that breaks off", QUARANTINE),
    Fault("digest", "a checksum other than the published one", QUARANTINE),
    Fault(
        "validators",
        "ETag missing, weak, or changed with equal bytes; Last-Modified or length changed",
        "any change leads to a download, and the content's hash decides",
    ),
    Fault(
        "no-validator",
        "no validator at all, or none any more",
        "fetched again after a declared interval, or at once; never up to date for ever",
    ),
    Fault("error-page", "200 with an error page or a login page", QUARANTINE),
    Fault(
        "empty-answer",
        "200 with an empty body, `{}` or `[]` where records are expected",
        QUARANTINE,
    ),
    Fault("redirect-loop", "a redirect loop, or too many redirects", "refused, named"),
    Fault(
        "redirect-scheme", "a redirect to another scheme, or from https to http", "refused, named"
    ),
    Fault(
        "redirect-private", "a redirect of a public source to a private address", "refused, named"
    ),
    Fault("dns-private", "a public name whose DNS answer is a private address", "refused, named"),
    Fault(
        "too-large",
        "larger than the declared limit, with or without a length",
        "aborted, nothing kept",
    ),
    Fault("too-slow", "slower than the declared minimum rate", "aborted, nothing kept"),
    Fault(
        "shrinking",
        "fewer rows than the last good file, beyond both declared limits",
        "an outage: the last table stands until a person accepts that content",
    ),
    Fault(
        "not-yet-published", "404 for the newest period, never held", "not yet published; no outage"
    ),
    Fault("unpublished", "404 for a file that was held", "an outage"),
    Fault("no-result", "404 for a request of a row", "no result, counted; no outage"),
)

FILE = (
    Fault("magic", "first bytes of another format", "quarantined with both names"),
    Fault(
        "zip-outside",
        "zip: names that lead out, absolute names",
        "refused before extraction, named",
    ),
    Fault("zip-link", "zip: symbolic links", "refused before extraction, named"),
    Fault("zip-encrypted", "zip: encrypted members", "refused before extraction, named"),
    Fault("zip-nested", "zip: an archive in the archive", "refused, named"),
    Fault("zip-bomb", "zip or gzip: a bomb by ratio or by size", "refused in bounded memory"),
    Fault("zip-crc", "zip: a wrong checksum", "refused, the member named"),
    Fault("zip-twice", "zip: a name that stands twice", "refused before extraction, named"),
    Fault("json-trailing", "JSON: bytes after the end", "refused"),
    Fault("json-nan", "JSON: NaN", "refused, or the record rejected"),
    Fault(
        "json-twice",
        "JSON: a key that stands twice",
        "entries are all kept; a record with a field twice is rejected",
    ),
    Fault("json-depth", "JSON: a depth bomb", "refused, or the record rejected; never a crash"),
    Fault("json-endless", "JSON: a huge string, a record without end", "refused in bounded memory"),
    Fault("json-top", "JSON: a wrong top type", "refused"),
    Fault("json-utf8", "JSON: invalid UTF-8", "the record rejected, or refused"),
    Fault("bom", "JSON and CSV: a byte order mark", "read as the standard says"),
    Fault("csv-ragged", "CSV: ragged rows, NUL", "the row rejected by its line number"),
    Fault("csv-delimiter", "CSV: a wrong delimiter", "refused with the header found"),
    Fault("csv-latin-1", "CSV: bytes that are no UTF-8", "the row rejected by its line number"),
    Fault("excel-password", "Excel: a password", "refused, named as what it is"),
    Fault("excel-macro", "Excel: macros", "not looked at; the cells are read"),
    Fault("excel-formula", "Excel: formula cells", "read as their last value"),
    Fault("excel-header", "Excel: a merged header, a name twice", "refused with sheet and row"),
    Fault("excel-sheet", "Excel: a missing or empty sheet", "refused with the sheets found"),
    Fault("excel-bomb", "Excel: a bomb", "refused before it is read"),
    Fault(
        "formula",
        "a cell that starts with = + - @",
        "text; what is written for spreadsheets is escaped",
    ),
    Fault(
        "unknown-field",
        "an unknown column or field",
        "warned of, left aside, or the file refused, as declared",
    ),
    Fault("missing-column", "a required column is missing", "refused, named"),
    Fault(
        "bad-value",
        "a changed type, an id not of its form, an unparsable date",
        "the row rejected with column, rule, expected and found",
    ),
    Fault("null-key", "a null in a required column", "the row rejected"),
    Fault(
        "duplicate-key",
        "a key that stands twice",
        "the later row rejected, or the newest kept, as declared",
    ),
    Fault(
        "too-many-rejects",
        "more rejected rows than declared",
        "the file is refused, the last table stands",
    ),
    Fault(
        "hostile-text",
        "markup, quotes, control characters in names and texts",
        "opaque text: never rejected for it, escaped in HTML and Markdown",
    ),
    Fault("hostile-sql", "quotes and SQL in names and texts", "opaque text: it changes no query"),
    Fault("hostile-name", "path separators in a name that names a file", "percent-encoded"),
)

MACHINE = (
    Fault("killed", "kill -9 at any moment", "the next run completes; no half file is ever read"),
    Fault(
        "disk-full",
        "the disk is full",
        "a named error, temporary files removed, the published set whole",
    ),
    Fault("read-only", "a directory that cannot be written", "a named error that says what to do"),
    Fault(
        "interrupted",
        "Ctrl-C, SIGTERM",
        "what is complete is kept, exit 130 or 143, says how to go on",
    ),
    Fault(
        "two-runs", "two runs at once on one domain", "the second waits, or says who holds the lock"
    ),
    Fault(
        "raw-file-lost",
        "a raw file deleted or edited behind our back",
        "found by its hash, told by `etl manifest verify`, fetched again",
    ),
    Fault(
        "event-log-lost",
        "the event log is lost",
        "`etl manifest restore` re-emits it; the next run downloads nothing",
    ),
    Fault(
        "corrupt-manifest",
        "a corrupt manifest",
        "named by its line; never replaced by an empty one",
    ),
    Fault(
        "clock",
        "the clock was set back; two runs in one second",
        "order by run, no directory overwritten",
    ),
    Fault(
        "secrets",
        "secrets of addresses, headers and settings",
        "by name from the environment; in no log, event, manifest or report",
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

ROOMS = {"The network": NETWORK, "The file": FILE, "The machine": MACHINE}
