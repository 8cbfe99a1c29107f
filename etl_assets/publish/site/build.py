"""Build all files of a site: those of changed rows are written, the others are published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Any

from etl_assets.declarations.domain import attribution_texts
from etl_assets.model.run_manifest import summarize_files
from etl_assets.publish.site import names
from etl_assets.publish.site.entry_pages import EntryPages
from etl_assets.publish.site.files import SiteFiles
from etl_assets.publish.site.lists import Lists
from etl_assets.publish.site.outline import Outline, newest_key
from etl_assets.publish.site.render import Renderer, static_files
from etl_assets.publish.site.rows import Change, Row, Rule, State
from etl_assets.publish.writers.output import DocumentContext
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.unchanged import RowGroups

NEWEST_CHANGES = 10
MOST_OPEN_PAGES = 15
STRIP_WIDTH = 1000.0
# From a page, its folder, the site.
SET_FROM_PAGE = "../../"
SET_FROM_SITE = "../"


def build_site(
    groups: RowGroups,
    options: Mapping[str, Any],
    files: SiteFiles,
    context: DocumentContext,
    group_files: Mapping[str, Mapping[str, str]],
) -> None:
    """Write or link all files.

    `group_files` are files of other documents about one page, by the standard and the page.
    """
    parts = {"has_changes": "changes" in context.marts, "has_rules": "rules" in context.marts}
    renderer = Renderer({**options, **parts}, context.tones)
    pages = EntryPages(renderer, files, options["pages"])
    _write_entry_pages(pages, groups, group_files)
    outline = Outline.read(groups.rows)
    states: list[State] = _read_table(context, "states", State)
    states.sort(key=lambda state: (state.state_rank, state.state))
    known = [state.state for state in states]
    state_names = outline.list_states(known)
    lists = Lists(renderer, files, outline, pages.numbers, options)
    lists.write_pages()
    lists.write_groups(_changed_entry_groups(groups, outline, known, pages.moved), state_names)
    lists.write_index({state: context.tones.get(state, "plain") for state in state_names})
    _write_front(renderer, files, outline, pages, context, options, states)
    for name, content in static_files().items():
        files.write(name, content)


def _write_entry_pages(
    pages: EntryPages, groups: RowGroups, group_files: Mapping[str, Mapping[str, str]]
) -> None:
    links: dict[str, list[tuple[str, str]]] = {page: [] for (page,), _ in groups.groups}
    for standard, by_page in group_files.items():
        for page, file in by_page.items():
            links[page].append((standard, SET_FROM_PAGE + names.link(file)))
    linked = {group for group in groups.unchanged if group[0] in links}
    linked = {(page,) for (page,) in linked if pages.can_link(page, links[page])}
    others = groupby(groups.rows_outside(linked).convert(Row), key=lambda row: row.page)
    for group, _ in groups.groups:
        if group in linked:
            pages.link(group[0])
            continue
        page, rows = next(others)
        pages.write(list(rows), links[page])


def _changed_entry_groups(
    groups: RowGroups,
    outline: Outline,
    known_states: Sequence[str],
    moved: AbstractSet[tuple[str, str]],
) -> set[str] | None:
    """The groups of ids whose lists change; None for all.

    Entries in `moved`, pairs of page and id, are on another part of the page than before.
    """
    if groups.published is None or not groups.unchanged:
        return None
    published = Outline.read(Rows(groups.published.mart))
    if published.list_states(known_states) != outline.list_states(known_states):
        return None  # the scripts of all groups refer to states by their numbers
    lines = set(outline.lines).symmetric_difference(published.lines)
    lines |= {line for line in outline.lines if (line.page, line.entry) in moved}
    return {line.entry_group for line in lines}


def _write_front(
    renderer: Renderer,
    files: SiteFiles,
    outline: Outline,
    pages: EntryPages,
    context: DocumentContext,
    options: Mapping[str, Any],
    states: Sequence[State],
) -> None:
    """Write the start page and those that it leads to."""
    changes = _read_changes(outline, pages, context, options["pages"])
    entry_groups = {name: len(entries) for name, entries in outline.groups.items()}
    counts = outline.state_counts
    open_pages = [page for page in outline.pages if page.open_entries]
    open_pages.sort(key=lambda page: -page.open_entries)
    index = renderer.page(
        "index.html.j2",
        "",
        as_of=context.as_of,
        total=len(outline.lines),
        pages_count=len(outline.pages),
        entries_count=sum(entry_groups.values()),
        states=counts,
        strip=_strip(counts),
        descriptions={state.state: state.description for state in states},
        most_open=open_pages[:MOST_OPEN_PAGES],
        changes=changes[:NEWEST_CHANGES],
        documents=_documents(context),
        attributions=attribution_texts(context.attributions),
    )
    files.write("index.html", index)
    newest_groups = sorted(entry_groups.items(), key=lambda item: newest_key(item[0]), reverse=True)
    html = renderer.page(
        "groups.html.j2", "", groups=newest_groups, total=sum(entry_groups.values())
    )
    files.write(f"{options['entries']}.html", html)
    if "changes" in context.marts:
        files.write("changes.html", renderer.page("changes.html.j2", "", changes=changes))
    if "rules" in context.marts:
        rules = _read_table(context, "rules", Rule)
        rules.sort(key=lambda rule: (rule.priority, rule.claim))
        by_rule: dict[str, list[Rule]] = {}
        for rule in rules:
            by_rule.setdefault(rule.rule, []).append(rule)
        html = renderer.page("rules.html.j2", "", states=states, rules=list(by_rule.items()))
        files.write("rules.html", html)


def _read_table(context: DocumentContext, name: str, row_type: type[Any]) -> list[Any]:
    return list(Rows(context.marts[name]).convert(row_type)) if name in context.marts else []


def _read_changes(
    outline: Outline, pages: EntryPages, context: DocumentContext, folder: str
) -> list[dict[str, object]]:
    """The changes, the newest first, with the URL of the entry from the start page."""
    rows: list[Change] = _read_table(context, "changes", Change)
    rows.sort(key=lambda row: (-row.changed_at.timestamp(), row.page, row.entry))
    listed = {(line.page, line.entry) for line in outline.lines} if rows else set()
    changes: list[dict[str, object]] = []
    for row in rows:
        is_listed = (row.page, row.entry) in listed
        url = f"{folder}/{pages.numbers.link(row.page, row.entry)}" if is_listed else None
        changes.append({"row": row, "url": url})
    return changes


def _strip(counts: Mapping[str, int]) -> list[dict[str, object]]:
    """The share of each state as a part of one bar, at least one unit wide."""
    total = sum(counts.values()) or 1
    widths = {state: max(count * STRIP_WIDTH / total, 1) for state, count in counts.items()}
    scale = STRIP_WIDTH / (sum(widths.values()) or 1)
    parts: list[dict[str, object]] = []
    start = 0.0
    for state, width in widths.items():
        parts.append({"state": state, "start": f"{start:.1f}", "width": f"{width * scale:.1f}"})
        start += width * scale
    return parts


def _documents(context: DocumentContext) -> list[dict[str, str]]:
    """The other documents of the set, with their URLs from the start page."""
    shown = []
    for document, files in context.files_before:
        for summary in summarize_files(files):
            url = SET_FROM_SITE + names.link(summary.first_file)
            shown.append({"file": document.file, "title": document.title, "url": url})
    return shown
