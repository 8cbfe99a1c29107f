"""A table of names, an endpoint, and the source that requests an answer for each name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import SecretStr
from support import chat_endpoint as chats
from support.table_declarations import column, contract, source

from etl_assets.declarations.source import Source
from etl_assets.fetch import answer_survey, collect_answers
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import LocationResolver
from etl_assets.fetch.row_requests import RowRequest, build_requests
from etl_assets.model.home import Home
from etl_assets.model.records import FetchResult, Part

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PART = Part(source="orchard.fruits")
SECRET = "sk-planted"
SCHEMA = {
    "type": "object",
    "required": ["station_name", "exits"],
    "properties": {"extraction_confidence": {"enum": ["high", "low"]}, "exits": {"type": "array"}},
}
CHAT = {
    "model": "m",
    "system": "Answer in JSON.",
    "prompt": "Station: {name}\n{text}",
    "max_tokens": 1000,
    "usd_per_million_prompt_tokens": 100,
    "usd_per_million_completion_tokens": 100,
    "attempts": 2,
    "repeats": {"station_name": "name"},
    "answer": SCHEMA,
}
QUICK = {"backoff_seconds": 0, "attempts": 2, "requests_per_second": 1000}


class Asking:
    """A table of names, an endpoint, and the source that asks about each name."""

    def __init__(self, folder: Path, server: chats.Endpoint) -> None:
        self.home, self.server, self.folder = Home(folder / "home"), server, folder
        self.last: FetchResult | None = None
        self.rows("ELM", "OAK")

    def rows(self, *names: str, text: str = "a page") -> None:
        table = pa.table({"name": list(names), "text": [text for _ in names]})
        pq.write_table(table, self.folder / "names.parquet")

    def source(self, **declared: Any) -> Source:
        for_each: dict[str, Any] = {"table": "names", "columns": ["name"], "chat": CHAT}
        table_contract = contract("name", column("n", "int64"))
        form = {"name": "json", "rows": declared.pop("row_path", "answers[]")}
        location: dict[str, Any] = {"url": self.server.url + declared.pop("path", "/v1/chat")}
        location = declared.pop("location", location)
        limits = QUICK | declared.pop("limits", {})
        for_each |= declared
        if for_each["chat"]:
            location |= {"credentials": {"Authorization": {"env": "THE_KEY", "prefix": "Bearer "}}}
        return source(table_contract, form, location=location, limits=limits, for_each=for_each)

    def requests(
        self, source: Source, resolver: LocationResolver | None = None
    ) -> list[RowRequest]:
        table = self.folder / "names.parquet"
        resolver = resolver or LocationResolver(self.home.root, secret=lambda _: SecretStr(SECRET))
        return build_requests(source, table, resolver)

    def ask(
        self,
        *,
        missing_settings: str = "",
        settings_fault: str = "",
        at: datetime = NOON,
        force: bool = False,
        resolver: LocationResolver | None = None,
        **declared: Any,
    ) -> FetchResult:
        with Client() as client:
            context = answer_survey.RequestContext(
                client,
                self.home,
                at,
                missing_settings=missing_settings,
                settings_fault=settings_fault,
                force=force,
            )
            source = self.source(**declared)
            survey = answer_survey.survey_requests(source, self.requests(source, resolver), context)
            decision = answer_survey.decide(PART, survey, self.last, context)
            self.last = collect_answers.collect(PART, survey, decision, self.last, context)
        return self.last

    @property
    def index(self) -> dict[str, Any]:
        assert self.last
        assert self.last.file
        index: dict[str, Any] = json.loads((self.home.root / self.last.file.path).read_bytes())
        return index

    def names(self, kind: str = "answers") -> list[str]:
        return [entry["key"]["name"] for entry in self.index[kind]]
