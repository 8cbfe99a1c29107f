"""Render the pages of a site from its templates.

Autoescape escapes every value. What is marked as safe here was rendered by a template, or is
markup around values that are escaped beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from etl_assets.declarations.domain import Tone
from etl_assets.model.display_text import INVISIBLE
from etl_assets.publish.site import names

TEMPLATES = "templates"
BRACKETS = re.compile(r"\[([^\[\]]*)\]")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
STATIC_FILES = ("site.css", "site.js")


class Renderer:
    """The templates of one site, with what all of its pages show."""

    def __init__(self, values: Mapping[str, Any], tones: Mapping[str, Tone]) -> None:
        self._environment = Environment(
            loader=PackageLoader("etl_assets.publish.site", TEMPLATES),
            autoescape=True,
            finalize=_finalize,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.globals |= dict(values)
        self._environment.filters |= {
            "anchor": names.anchor,
            "fragment": names.fragment,
            "host_linked": link_host,
            "page_file": lambda name: names.link(names.file_name(name)),
            "group_file": lambda name: names.link(names.file_name(names.group_name(name))),
            "moment": format_moment,
            "number": lambda number: f"{number:,}",
            "placeholders": mark_placeholders,
            "tone": lambda state: tones.get(state, "plain"),
            "web_url": names.web_url,
            "words": lambda text: text.replace("_", " "),
        }

    def page(self, template: str, root: str, **values: object) -> str:
        """A whole page; `root` is the URL of the site's folder from it."""
        return self._environment.get_template(template).render(root=root, **values)

    def macros(self, template: str, root: str) -> Any:  # noqa: ANN401 - jinja makes its attributes
        """The macros of a template, which return markup."""
        return self._environment.get_template(template).make_module({"root": root})


def static_files() -> dict[str, bytes]:
    """The files that are the same in every site, by name."""
    folder = files("etl_assets.publish.site") / TEMPLATES
    palette = (folder / "palette.css").read_bytes()
    contents = {name: (folder / name).read_bytes() for name in STATIC_FILES}
    return contents | {"site.css": palette + contents["site.css"]}


def link_host(text: str, url: str | None) -> str:
    """The text with the URL in it, if there is one, as a link that shows the host."""
    url = names.web_url(url)
    if url is None or url not in text:
        return text
    before, _, after = text.partition(url)
    host = url.split("/")[2]
    return (
        escape(_clean(before))
        + Markup('<a href="{}" rel="noopener noreferrer">{}</a>').format(url, host)
        + escape(_clean(after))
    )


def mark_placeholders(template: str) -> str:
    """A sentence with `{name}` in it as markup; a part in square brackets may be missing."""
    sentence = Markup()
    for index, optional in enumerate(BRACKETS.split(_clean(template))):
        parts = Markup().join(
            Markup("<var>{}</var>").format(part.replace("_", " ")) if number % 2 else escape(part)
            for number, part in enumerate(PLACEHOLDER.split(optional))
        )
        sentence += Markup("<i>{}</i>").format(parts) if index % 2 else parts
    return sentence


@lru_cache(1 << 10)
def format_moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _finalize(value: object) -> object:
    """Remove invisible characters from text of the data; markup of the templates is unchanged."""
    # Not `isinstance`: the templates' own output is Markup, a subclass of str.
    if type(value) is not str or value.isprintable():
        return value
    return _clean(value)


def _clean(text: str) -> str:
    return text if text.isprintable() else INVISIBLE.sub(" ", text)
