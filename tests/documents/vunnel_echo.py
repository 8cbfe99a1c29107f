"""Runs vunnel's own `echo` provider against a URL, in an environment that has vunnel.

Prints one JSON list of vulnerability id, package and fixed version. Dates of fixes come from a
registry that no test may ask; nothing else of vunnel is replaced.
"""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from vunnel.providers import echo
from vunnel.tool import fixdate


class NoDates(AbstractContextManager[Any]):
    """A finder that knows no date."""

    def __exit__(self, *_: object) -> None: ...

    def download(self) -> None: ...

    def best(self, **_: object) -> None: ...


def records(url: str, workspace: Path) -> Any:
    fixdate.default_finder = lambda _: NoDates()
    echo.Provider._url = url
    provider = echo.Provider(str(workspace))
    for _, by_package in provider.parser.get():
        yield from by_package.values()


if __name__ == "__main__":
    url, workspace = sys.argv[1:]
    rows = [
        (record["Vulnerability"]["Name"], fix["Name"], fix["Version"])
        for record in records(url, Path(workspace))
        for fix in record["Vulnerability"]["FixedIn"]
    ]
    sys.stdout.write(json.dumps(rows))
