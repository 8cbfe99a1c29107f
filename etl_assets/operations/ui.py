"""`etl ui`: Dagster's pages and daemon on the loopback address."""

from __future__ import annotations

from collections.abc import Callable

from etl_assets.defs.pages.server import serve
from etl_assets.settings import Settings


def serve_ui(settings: Settings, port: int, *, read_only: bool, say: Callable[[str], None]) -> None:
    """Serve the pages until they are ended."""
    serve(settings, port, read_only=read_only, say=say)
