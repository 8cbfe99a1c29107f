"""The site has each entry once, shows hostile data as text, and has no broken link."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from publish.writers.conftest import AS_OF
from support.browser import needs_browser, render_page
from support.site_rows import JANUARY, Page, an_entry, find_broken_links, lay_entries

from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.documents import PreviousSet, write_documents
from etl_assets.publish.site import names
from etl_assets.publish.site.paging import MAX_PAGE_BYTES
from etl_assets.publish.site.render import mark_placeholders
from etl_assets.publish.writers import site
from etl_assets.publish.writers.output import DocumentContext, PublishedDocument
from etl_assets.publish.writers.registry import find_problems
from etl_assets.storage.signatures import Signatures

OPTIONS = {
    "title": "Garden",
    "lead": "Trees and their pests.",
    "page": "tree",
    "pages": "trees",
    "entry": "pest",
    "entries": "pests",
}
DOCUMENT = Document.model_validate(
    {
        "file": "site",
        "title": "A page for each tree",
        "format": "site",
        "from": "doc_trees",
        "also_from": {"changes": "doc_changes", "rules": "doc_rules", "states": "doc_states"},
        "options": OPTIONS,
    }
)
CSAF = Document.model_validate(
    {
        "file": "csaf",
        "title": "CSAF",
        "format": "csaf",
        "from": "doc_csaf",
        "options": {
            "base_url": "https://garden.example",
            "id_prefix": "G-",
            "publisher_name": "Garden",
            "publisher_namespace": "https://garden.example",
            "purl_type": "deb",
            "purl_namespace": "garden",
        },
    }
)
HOSTILE = [
    '<script>alert("x")</script>',
    "\"><img src=x onerror='alert(1)'>",
    "</title></style><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    '<article id="CVE-2026-9">',
]
SCRIPT_URLS = [
    "javascript:alert(1)",
    "JavaScript://x.example/%0Aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "https://",
    'https://x.example/" onclick="alert(1)',
]
NAMES = {
    "case": ["Oak", "oak", "OAK"],
    "long": ["a" * 1_000, "a" * 1_001, "A" * 1_000],
    "not ASCII": ["ü" * 300, "ü" * 301, "\N{KELVIN SIGN}", "k"],
    "folders": ["..", ".", "../oak", "a/b", "a\\b", "%2e%2e"],
    "like a part": ["oak", "oak=2", "oak=3", "oak%3D2"],
    "like other files": ["index", "con", "site.css", "#top", "?q=1"],
}


def write(
    folder: Path,
    rows: list[dict[str, Any]],
    *,
    published: PublishedDocument | None = None,
    csaf: list[str] | None = None,
    has_front: bool = True,
) -> list[PublishedFile]:
    """Write the rows as a site below `folder`; `csaf` are the files of the set's CSAF documents."""
    folder.mkdir(exist_ok=True)
    marts = {}
    for name, table in a_front().items() if has_front else ():
        marts[name] = folder / f"{name}.parquet"
        pq.write_table(table, marts[name])
    files = [
        PublishedFile(document="csaf", file=file, sha256="0" * 64, size_bytes=1, rows=1)
        for file in csaf or []
    ]
    context = DocumentContext(
        folder / "set",
        AS_OF,
        published=published,
        marts=marts,
        files_before=((CSAF, files),) if files else (),
        tones={"fixed": "good", "open": "bad"},
    )
    return site.write(lay_entries(folder / "mart.parquet", rows), DOCUMENT, context)


def a_front() -> dict[str, pa.Table]:
    """The rows of the further marts, one of each."""
    time = pa.timestamp("us", tz="UTC")
    text = ("kind", "old_state", "new_state", "old_answer", "new_answer", "cause", "rule", "source")
    change = dict.fromkeys(text) | {"kind": "changed", "new_state": "fixed", "rule": "R1"}
    fields = [(name, pa.string()) for name in ("page", "entry", *text, "record")]
    fields += [("changed_at", time), ("is_regression", pa.bool_())]
    named = {"page": "ash", "entry": "CVE-2026-1", "changed_at": JANUARY, "is_regression": False}
    rule = {
        "claim": "fixed_version", "priority": 1, "rule": "R1", "title": "Fixed", "state": "fixed",
        "description": "A fix.", "confidence": "high", "reason": "a fix", "sentence": "{version}.",
    }  # fmt: skip
    states = [("open", 1), ("fixed", 5)]
    return {
        "changes": pa.Table.from_pylist([change | named], pa.schema(fields)),
        "rules": pa.Table.from_pylist([rule]),
        "states": pa.Table.from_pylist(
            [{"state": state, "state_rank": rank, "description": "x"} for state, rank in states]
        ),
    }


def as_published(folder: Path, files: list[PublishedFile]) -> PublishedDocument:
    by_name = {file.file: file for file in files}
    return PublishedDocument(folder / "set", by_name, folder / "mart.parquet", ("page", "entry"))


def pages_of(folder: Path, page: str) -> list[Page]:
    """All parts of the page."""
    trees = folder / "set/site/trees"
    files = []
    while (file := trees / names.file_name(page, len(files) + 1)).exists():
        files.append(file)
    return [Page(file) for file in files]


def test_each_page_has_its_entries_once_the_open_ones_first(tmp_path: Path) -> None:
    rows = [
        an_entry("ash", "CVE-2026-1"),
        an_entry("ash", "CVE-2026-10", state="open"),
        an_entry("ash", "CVE-2026-9", state="open"),
        an_entry("fir", "TREE-7"),
    ]

    files = write(tmp_path, rows)

    assert {
        page.file.name: page.entries
        for page in map(Page, sorted((tmp_path / "set/site/trees").iterdir()))
    } == {"ash.html": ["CVE-2026-10", "CVE-2026-9", "CVE-2026-1"], "fir.html": ["TREE-7"]}
    assert sum(file.rows for file in files) == len(rows)
    assert site.count_rows(DOCUMENT, tmp_path / "set") == len(rows)


def test_every_relative_link_of_a_site_leads_to_a_file_and_an_anchor(tmp_path: Path) -> None:
    rows = [an_entry(name, "CVE-2026-1") for group in NAMES.values() for name in {*group}]
    rows = list({row["page"]: row for row in rows}.values())
    rows += [an_entry("ash", "CVE-2026-1"), an_entry("ash", "A b%/#?-é")]

    write(tmp_path, rows)

    assert list(find_broken_links(tmp_path / "set/site")) == []


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("hostile-text")
@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "column", ["page", "entry", "answer", "sentence", "action", "flip", "badge", "detail", "record"]
)
def test_markup_in_data_is_text(tmp_path: Path, column: str, text: str) -> None:
    plain, hostile = tmp_path / "plain", tmp_path / "hostile"
    is_statement = column in {"detail", "record"}

    for folder, value in ((plain, "text"), (hostile, text)):
        values = {column: value}
        write(folder, [an_entry(**({"statement": values} if is_statement else values))])

    assert all_tags(hostile) == all_tags(plain)
    assert text in Page(next((hostile / "set/site/trees").iterdir())).text


def all_tags(folder: Path) -> list[list[tuple[str, list[str]]]]:
    """The elements of all pages with the names of their attributes, by the order of the files."""
    pages = [Page(file) for file in folder.rglob("*.html")]
    return sorted([(tag, sorted(values)) for tag, values in page.tags] for page in pages)


@pytest.mark.fault("hostile-text")
@pytest.mark.parametrize("url", SCRIPT_URLS)
def test_a_url_that_is_no_web_page_is_no_link(tmp_path: Path, url: str) -> None:
    row = an_entry(
        entry_url=url,
        record_url=url,
        sentence=f"See {url} for more.",
        statement={"record": "record", "record_url": url},
    )

    write(tmp_path, [row])

    [page] = pages_of(tmp_path, "ash")
    assert url not in page.urls
    assert all(url.startswith(("#", "../", "data:,")) for url in page.urls)


@pytest.mark.fault("hostile-text")
@pytest.mark.parametrize("text", HOSTILE)
def test_the_scripts_of_the_search_contain_data_alone(tmp_path: Path, text: str) -> None:
    write(tmp_path, [an_entry(text, f"CVE-2026-{text}")])

    for file in [tmp_path / "set/site/search.js", *(tmp_path / "set/site/search").iterdir()]:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) == 1
        name, data = site_index_of(lines[0])
        assert name == file.relative_to(tmp_path / "set/site").as_posix()
        assert text in str(data).replace("\\'", "'")


def site_index_of(line: str) -> tuple[str, Any]:
    """The arguments of the one call in a script of the search, which are JSON."""
    assert line.startswith("siteIndex(")
    name, data = msgspec.json.decode(f"[{line.removeprefix('siteIndex(').removesuffix(');')}]")
    return name, data


@pytest.mark.fault("long-name")
@pytest.mark.parametrize("pages", NAMES.values(), ids=NAMES)
def test_every_page_has_a_file_of_its_own(tmp_path: Path, pages: list[str]) -> None:
    write(tmp_path, [an_entry(page) for page in pages])

    files = sorted((tmp_path / "set/site/trees").iterdir())
    assert len({file.name.lower() for file in files}) == len(pages)
    assert max(len(file.name.encode()) for file in files) <= 200
    assert site.count_rows(DOCUMENT, tmp_path / "set") == len(pages)
    assert {path.parent.name for path in tmp_path.rglob("*.html")} == {"site", "trees", "pests"}


def test_a_page_of_thousands_of_entries_is_split(tmp_path: Path) -> None:
    rows = [an_entry("ash", f"CVE-2026-{number}", sentence="x" * 300) for number in range(3_000)]

    files = write(tmp_path, rows)

    parts = pages_of(tmp_path, "ash")
    entries = [entry for part in parts for entry in part.entries]
    assert len(parts) > 3
    assert len(entries) == len(set(entries)) == len(rows)
    assert max(file.size_bytes for file in files if file.file.endswith(".html")) < MAX_PAGE_BYTES
    assert site.count_rows(DOCUMENT, tmp_path / "set") == len(rows)
    assert list(find_broken_links(tmp_path / "set/site")) == []


def test_an_entry_of_any_size_is_on_a_page(tmp_path: Path) -> None:
    rows = [an_entry("ash", f"CVE-2026-{number}", sentence="x" * 600_000) for number in range(3)]

    write(tmp_path, rows)

    assert [len(part.entries) for part in pages_of(tmp_path, "ash")] == [1, 1, 1]


ROWS = [an_entry(page, f"CVE-2026-{number}") for page in ("ash", "fir") for number in (1, 2)]


def test_a_missing_page_is_counted_as_missing_rows(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    (tmp_path / "set/site/trees/fir.html").unlink()

    assert site.count_rows(DOCUMENT, tmp_path / "set") == 2


def test_a_lost_anchor_is_counted_as_a_missing_row(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    alter(tmp_path / "set/site/trees/ash.html", '<article id="CVE-2026-1">', "<article>")

    assert site.count_rows(DOCUMENT, tmp_path / "set") == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<article id="CVE-2026-1">', '<article id="CVE-2026-2">', "each entry once"),
        ("</html>\n", "", "no end"),
        ("</html>\n", "</html>", "no end"),
    ],
    ids=["twice", "cut off", "one byte less"],
)
def test_an_invalid_page_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    write(tmp_path, ROWS)
    alter(tmp_path / "set/site/trees/ash.html", old, new)

    with pytest.raises(BuildError, match=message):
        site.count_rows(DOCUMENT, tmp_path / "set")


@pytest.mark.parametrize("number", [1, 2])
def test_a_missing_part_of_a_page_is_refused(tmp_path: Path, number: int) -> None:
    rows = [an_entry("ash", f"CVE-2026-{each}", sentence="x" * 300) for each in range(1_500)]
    write(tmp_path, rows)
    (tmp_path / "set/site/trees" / names.file_name("ash", number)).unlink()

    with pytest.raises(BuildError, match="expected all parts of the page"):
        site.count_rows(DOCUMENT, tmp_path / "set")


def alter(file: Path, old: str, new: str) -> None:
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))


def test_rows_that_are_not_in_the_order_of_pages_are_refused(tmp_path: Path) -> None:
    rows = lay_entries(tmp_path / "mart.parquet", ROWS)
    table = pq.read_table(rows.path)
    pq.write_table(table.take([0, 2, 1, 3]), rows.path)

    with pytest.raises(BuildError, match="expected rows in the order of pages"):
        site.write(rows, DOCUMENT, DocumentContext(tmp_path / "set", AS_OF))


def test_the_pages_of_unchanged_subjects_are_links(tmp_path: Path) -> None:
    published = as_published(tmp_path / "old", write(tmp_path / "old", ROWS))
    changed = [*ROWS[:3], an_entry("fir", "CVE-2026-2", sentence="Another text.")]

    write(tmp_path / "new", changed, published=published)

    old, new = (tmp_path / name / "set/site/trees" for name in ("old", "new"))
    assert (new / "ash.html").samefile(old / "ash.html")
    assert not (new / "fir.html").samefile(old / "fir.html")


def test_the_scripts_of_unchanged_groups_have_the_states_of_the_set(tmp_path: Path) -> None:
    old_rows = [an_entry("ash", "CVE-2025-1"), an_entry("fir", "CVE-2026-1", state="open")]
    published = as_published(tmp_path / "old", write(tmp_path / "old", old_rows, has_front=False))
    rows = [old_rows[0], an_entry("fir", "CVE-2026-1")]

    write(tmp_path / "new", rows, published=published, has_front=False)
    write(tmp_path / "whole", rows, has_front=False)

    script = "set/site/search/cve-2025.js"
    assert (tmp_path / "new" / script).read_bytes() == (tmp_path / "whole" / script).read_bytes()
    assert not (tmp_path / "new" / script).samefile(tmp_path / "old" / script)


def test_the_script_of_an_unchanged_group_is_a_link_if_the_states_are_declared(
    tmp_path: Path,
) -> None:
    old_rows = [an_entry("ash", "CVE-2025-1"), an_entry("fir", "CVE-2026-1", state="open")]
    published = as_published(tmp_path / "old", write(tmp_path / "old", old_rows))

    write(tmp_path / "new", [old_rows[0], an_entry("fir", "CVE-2026-1")], published=published)

    script = "set/site/search/cve-2025.js"
    assert (tmp_path / "new" / script).samefile(tmp_path / "old" / script)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    ("old_size", "new_size"), [(300, 2_000), (2_000, 300), (10, 2_000), (2_000, 10)]
)
def test_the_lists_link_the_part_of_a_page_that_an_entry_moves_to(
    tmp_path: Path, old_size: int, new_size: int
) -> None:
    others = [an_entry("ash", f"CVE-2025-{number}", sentence="x" * 200) for number in range(450)]
    old, new = ([
        an_entry("ash", f"CVE-2026-{number}", sentence="y" * size) for number in range(90)
    ] for size in (old_size, new_size))  # fmt: skip
    published = as_published(tmp_path / "old", write(tmp_path / "old", old + others))

    write(tmp_path / "new", new + others, published=published)
    write(tmp_path / "whole", new + others)

    assert list(find_broken_links(tmp_path / "new/set/site")) == []
    assert read_site(tmp_path / "new") == read_site(tmp_path / "whole")
    assert len(pages_of(tmp_path / "new", "ash")) != len(pages_of(tmp_path / "old", "ash"))


def read_site(folder: Path) -> dict[str, bytes]:
    files = (path for path in (folder / "set").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (["csaf/2025/g-ash.json"], ["csaf/2026/g-ash.json"], ["../../csaf/2026/g-ash.json"]),
        (["csaf/2026/g-ash.json"], ["csaf/2026/g-fir.json"], []),
        (["csaf/2026/g-fir.json"], ["csaf/2026/g-ash.json"], ["../../csaf/2026/g-ash.json"]),
    ],
    ids=["renamed", "gone", "new"],
)
def test_an_unchanged_page_has_the_link_to_the_csaf_document_of_the_same_set(
    tmp_path: Path, old: list[str], new: list[str], found: list[str]
) -> None:
    published = as_published(tmp_path / "old", write(tmp_path / "old", ROWS, csaf=old))

    write(tmp_path / "new", ROWS, published=published, csaf=new)

    [page] = pages_of(tmp_path / "new", "ash")
    assert [url for url in page.urls if "csaf" in url] == found


@pytest.mark.parametrize(
    ("file", "is_linked"),
    [("trees.json", True), ("trees-1.json", False), ("csaf/trees.json", False)],
    ids=["same name", "another name", "another folder"],
)
def test_an_unchanged_site_is_written_again_if_a_document_has_another_name(
    tmp_path: Path, file: str, is_linked: bool
) -> None:
    trees = {"file": "trees.json", "title": "Trees", "format": "json_envelope", "from": "doc_all"}
    declared = [Document.model_validate(trees), DOCUMENT.model_copy(update={"also_from": {}})]
    marts = tmp_path / "marts"
    marts.mkdir()
    for document in declared:
        lay_entries(marts / f"{document.model}.parquet", ROWS)
    signatures = Signatures.load(tmp_path / "signatures.json")
    common = {"as_of": AS_OF, "changed": {"doc_all"}, "signatures": signatures}
    old = write_documents(declared, marts, tmp_path / "old", previous=None, **common)
    files = [
        each.model_copy(update={"file": file}) if each.file == "trees.json" else each
        for each in old.files
    ]

    previous = PreviousSet(tmp_path / "old", files, {})
    new = write_documents(declared, marts, tmp_path / "new", previous=previous, **common)

    assert new.linked == ({"site"} if is_linked else set())


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"options": OPTIONS | {"pages": "pests"}}, "options"),
        ({"options": OPTIONS | {"pages": "search"}}, "options"),
        ({"options": OPTIONS | {"pages": "../trees"}}, "options.pages"),
        ({"also_from": {"news": "doc_news"}}, "also_from.news"),
    ],
    ids=["one folder", "reserved", "a path", "another mart"],
)
def test_a_wrong_declaration_is_named(change: dict[str, Any], where: str) -> None:
    declared = DOCUMENT.model_dump(by_alias=True) | change

    [problem] = find_problems([Document.model_validate(declared)])

    assert where in problem.where


@needs_browser
@pytest.mark.long
@pytest.mark.parametrize(
    ("query", "url"),
    [
        ("fir", "trees/fir.html"),
        ("CVE-2026-1", "trees/ash.html#CVE-2026-1"),
        ("<b>&'", "trees/%253Cb%253E%2526%2527.html"),
        ("cve-2025-77", "pests/cve-2025.html#CVE-2025-77"),
    ],
    ids=["a package", "an id", "markup", "an id of several packages"],
)
def test_the_search_finds_names_and_ids_from_a_disk(tmp_path: Path, query: str, url: str) -> None:
    rows = [
        an_entry("<b>&'", "TREE-7"),
        an_entry("ash", "CVE-2026-1", state="open"),
        *(an_entry(page, "CVE-2025-77") for page in ("ash", "fir")),
    ]
    write(tmp_path, rows)
    type_in(tmp_path / "set/site/index.html", query)

    shown = render_page((tmp_path / "set/site/index.html").as_uri(), tmp_path)

    (tmp_path / "shown.html").write_text(shown)
    found = Page(tmp_path / "shown.html")
    root = (tmp_path / "set/site").as_uri()
    assert found.urls.count(f"{root}/{url}") == 1
    assert ("script", {"src": "typed.js", "defer": ""}) in found.tags


def type_in(page: Path, query: str) -> None:
    """Let a script of the page type the query."""
    add_script(
        page,
        'const field = document.querySelector("input");'
        f' field.focus(); field.value = {query!r}; field.dispatchEvent(new Event("input"));',
    )


def add_script(page: Path, text: str) -> None:
    """Let the page run a script after its own, as a file: its policy refuses others."""
    (page.parent / "typed.js").write_text(text)
    alter(page, "</head>", '<script src="typed.js" defer></script></head>')


PRESS = """const field = document.querySelector("input");
const press = (key) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
new MutationObserver((_, observer) => {
  observer.disconnect();
  KEYS.forEach(press);
  document.body.title = `${document.activeElement.textContent}|${field.value}`;
}).observe(document.querySelector("form ol"), {childList: true});
field.focus();
field.value = "a";
field.dispatchEvent(new Event("input"));"""


@needs_browser
@pytest.mark.long
@pytest.mark.parametrize(
    ("keys", "focused"),
    [
        ([], "|a"),
        (["ArrowDown"], "ash|a"),
        (["ArrowDown", "ArrowDown"], "aspen|a"),
        (["ArrowDown", "ArrowDown", "ArrowUp"], "ash|a"),
        (["ArrowDown", "ArrowUp"], "|a"),
        (["ArrowDown", "Escape"], "|"),
    ],
    ids=["typed", "down", "down twice", "up", "back in the field", "cleared"],
)
def test_the_keyboard_moves_through_the_results(
    tmp_path: Path, keys: list[str], focused: str
) -> None:
    write(tmp_path, [an_entry(page) for page in ("ash", "aspen", "fir")])
    page = tmp_path / "set/site/index.html"
    add_script(page, PRESS.replace("KEYS", repr(keys)))

    shown = render_page(page.as_uri(), tmp_path)

    assert f'<body title="{focused}">' in shown


WIDE = "a-name-that-no-telephone-can-show-in-one-line-" * 4
# A page from a disk is not shown to the page around it, so it sends its width.
FRAME = """<!doctype html><iframe src="{}" style="width: 375px; height: 800px"></iframe>
<p>nothing</p><script>
addEventListener("message", ({{data}}) => document.querySelector("p").textContent = data);
</script>"""
MEASURE = """addEventListener("load", () => {
  document.querySelectorAll("details").forEach((details) => details.open = true);
  const {scrollWidth, clientWidth} = document.documentElement;
  parent.postMessage(`${scrollWidth} of ${clientWidth}`, "*");
});"""


@needs_browser
@pytest.mark.long
@pytest.mark.parametrize("kind", ["start", "page", "pages", "ids", "changes", "rules"])
def test_a_phone_need_not_scroll_sideways(tmp_path: Path, kind: str) -> None:
    texts = ("answer", "badge", "sentence", "action", "flip")
    entry = an_entry(WIDE, f"CVE-2026-{WIDE}", **dict.fromkeys(texts, WIDE))
    write(tmp_path, [entry])
    root = tmp_path / "set/site"
    files = {
        "start": "index.html",
        "page": f"trees/{names.file_name(WIDE)}",
        "pages": "trees.html",
        "ids": "pests/cve-2026.html",
        "changes": "changes.html",
        "rules": "rules.html",
    }
    add_script(root / files[kind], MEASURE)
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format((root / files[kind]).as_uri()))

    shown = render_page(frame.as_uri(), tmp_path)

    widths = re.search(r"<p>(\d+) of (\d+)</p>", shown)
    assert widths, shown
    assert int(widths[1]) <= int(widths[2]) <= 375


@needs_browser
@pytest.mark.long
@pytest.mark.parametrize(
    ("scheme", "color"),
    [("1", "rgb(245, 246, 248)"), ("0", "rgb(15, 20, 26)")],
    ids=["light", "dark"],
)
def test_a_page_follows_the_colours_of_the_system(tmp_path: Path, scheme: str, color: str) -> None:
    write(tmp_path, [an_entry()])
    page = tmp_path / "set/site/trees/ash.html"
    add_script(page, "document.body.title = getComputedStyle(document.body).backgroundColor;")

    shown = render_page(page.as_uri(), tmp_path, f"--blink-settings=preferredColorScheme={scheme}")

    assert f'<body title="{color}">' in shown


@needs_browser
@pytest.mark.long
def test_the_policy_of_a_page_refuses_scripts_in_it_and_requests(tmp_path: Path) -> None:
    write(tmp_path, [an_entry()])
    page = tmp_path / "set/site/index.html"
    alter(page, "</head>", "<script>document.title = 'taken'</script></head>")
    add_script(
        page,
        "addEventListener('securitypolicyviolation', (event) =>"
        " document.body.title += event.effectiveDirective + ' ');"
        "fetch('https://garden.example/').catch(() => null);"
        "new Image().src = 'https://garden.example/';",
    )

    shown = render_page(page.as_uri(), tmp_path)

    assert "<title>Garden</title>" in shown
    assert re.search('<body title="(connect-src img-src|img-src connect-src) ">', shown)


def test_ids_are_listed_from_the_newest_year_on(tmp_path: Path) -> None:
    ids = ["CVE-2025-10", "CVE-2025-9", "CVE-2026-1", "TEMP-0001-A"]
    write(tmp_path, [an_entry("ash", entry) for entry in ids])

    (page,) = pages_of(tmp_path, "ash")

    assert page.entries == ["CVE-2026-1", "CVE-2025-10", "CVE-2025-9", "TEMP-0001-A"]
    pests = Page(tmp_path / "set/site/pests.html")
    groups = [url for url in pests.urls if url.startswith("pests/")]
    assert groups == ["pests/cve-2026.html", "pests/cve-2025.html", "pests/temp.html"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Fixed in {fixed_version}.", "Fixed in <var>fixed version</var>."),
        ("Ruled[ ({why})].", "Ruled<i> (<var>why</var>)</i>."),
        ("[<b>]{x}<b>", "<i>&lt;b&gt;</i><var>x</var>&lt;b&gt;"),
        ("a ] b [ c", "a ] b [ c"),
    ],
    ids=["a value", "an optional part", "markup", "brackets alone"],
)
def test_values_and_optional_parts_of_a_sentence_are_marked(template: str, expected: str) -> None:
    assert mark_placeholders(template) == expected
