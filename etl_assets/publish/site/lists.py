"""The long lists of a site, of pages and of ids, and the scripts of its search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any

import msgspec
from markupsafe import Markup

from etl_assets.publish.site import names
from etl_assets.publish.site.files import SiteFiles
from etl_assets.publish.site.outline import EntryNumbers, Line, Outline, natural_key
from etl_assets.publish.site.paging import cut_pages
from etl_assets.publish.site.render import Renderer

INDEX_SCRIPT = "search.js"
SCRIPT_FOLDER = "search"


class Lists:
    """Writes the lists of a site."""

    def __init__(
        self,
        renderer: Renderer,
        files: SiteFiles,
        outline: Outline,
        numbers: EntryNumbers,
        options: Mapping[str, Any],
    ) -> None:
        self._renderer, self._files, self._outline = renderer, files, outline
        self._numbers = numbers
        self._page_folder, self._entry_folder = options["pages"], options["entries"]
        self._entry_noun = options["entry"]

    def write_pages(self) -> None:
        """The list of all pages, and the script with their names."""
        pages = self._outline.pages
        macros = self._renderer.macros("line.html.j2", "")
        lines = [str(macros.page_line(page)) for page in pages]
        self._write_parts(
            self._page_folder,
            lines,
            root="",
            labels=[page.page for page in pages],
            heading=self._page_folder.capitalize(),
            lead_text=f"{len(pages):,}, with the number of their {self._entry_folder}.",
            look="names",
        )

    def write_index(self, states: Mapping[str, str]) -> None:
        """The script that the search loads first; `states` are their tones by name."""
        rows = []
        for page, entries, open_entries in self._outline.pages:
            stem = names.file_stem(page)
            rows.append([page, "" if stem == page else stem, entries, open_entries])
        groups = [
            [group, names.file_stem(names.group_name(group)), len(entries)]
            for group, entries in self._outline.groups.items()
        ]
        index = {
            "folders": [self._page_folder, self._entry_folder],
            "entry": self._entry_noun,
            "states": list(states.items()),
            "groups": groups,
            "pages": rows,
        }
        self._files.write(INDEX_SCRIPT, _script(INDEX_SCRIPT, index))

    def write_groups(self, changed: AbstractSet[str] | None, states: Sequence[str]) -> None:
        """The list of each group of ids, and its script; all if `changed` is None.

        Scripts refer to `states` by their numbers.
        """
        state_numbers = {state: number for number, state in enumerate(states)}
        for group, unsorted_entries in self._outline.groups.items():
            name = names.group_name(group)
            script = f"{SCRIPT_FOLDER}/{names.file_stem(name)}.js"
            if changed is not None and group not in changed:
                for file in self._files.published_parts(self._entry_folder, name):
                    self._files.link(file)
                self._files.link(script)
                continue
            entries = dict(sorted(unsorted_entries.items(), key=lambda item: natural_key(item[0])))
            lines = [
                str(self._entry_line(entry, lines, self._numbers))
                for entry, lines in entries.items()
            ]
            parts = self._write_parts(
                name,
                lines,
                root="../",
                folder=f"{self._entry_folder}/",
                labels=list(entries),
                heading=group,
                lead_text=f"{len(entries):,} {self._entry_folder}.",
                look="lines",
                up={"url": f"../{self._entry_folder}.html", "label": self._entry_folder},
            )
            self._files.write(
                script, self._group_script(script, group, entries, parts, state_numbers)
            )

    @cached_property
    def _entry_line(self) -> Any:  # noqa: ANN401 - a macro
        return self._renderer.macros("line.html.j2", "../").entry_line

    def _write_parts(
        self,
        name: str,
        lines: Sequence[str],
        *,
        root: str,
        labels: Sequence[str],
        folder: str = "",
        up: Mapping[str, str] | None = None,
        **values: object,
    ) -> list[range]:
        parts = cut_pages(lines)
        files = [names.file_name(name, number + 1) for number in range(len(parts))]
        for number, part in enumerate(parts):
            html = self._renderer.page(
                "list.html.j2",
                root,
                files=[names.link(file) for file in files],
                labels=[f"{labels[each[0]]} to {labels[each[-1]]}" for each in parts if each],
                number=number + 1,
                html=Markup("".join(lines[index] for index in part)),  # noqa: S704 - rendered
                up=up,
                **values,
            )
            self._files.write(folder + files[number], html)
        return parts

    def _group_script(
        self,
        script: str,
        group: str,
        entries: Mapping[str, list[Line]],
        parts: list[range],
        state_numbers: Mapping[str, int],
    ) -> bytes:
        """One record per id: the rest of the id, its part, its state, and its page or their number.

        The state is the one that concerns readers most.
        """
        records: list[list[object]] = []
        part_numbers = (number for number, part in enumerate(parts, start=1) for _ in part)
        for (entry, lines), number in zip(entries.items(), part_numbers, strict=True):
            rest = entry.removeprefix(f"{group}-")
            # The mark distinguishes a whole id from the rest of one.
            is_rest = rest != entry and not rest.startswith("=")
            first = min(lines, key=lambda line: line.state_rank)
            state = state_numbers[first.state]
            record: list[object] = [rest if is_rest else f"={entry}", number, state]
            if len(lines) > 1:
                record.append(len(lines))
            else:
                stem = names.file_stem(first.page)
                part = self._numbers.find(first.page, entry)
                record.append(first.page)
                if stem != first.page or part > 1:
                    record += ["" if stem == first.page else stem, part]
            records.append(record)
        return _script(script, records)


def _script(name: str, data: object) -> bytes:
    encode = msgspec.json.encode
    return b"siteIndex(" + encode(name) + b"," + encode(data) + b");\n"
