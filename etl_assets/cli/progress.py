"""What a person sees while a command works: bars on a terminal, plain lines elsewhere.

Only showing belongs here. What happened is told by the steps, the result by the command.
"""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TransferSpeedColumn

from etl_assets.model.records import Part


class ProgressDisplay:
    """Lines and transfers on stderr, so that stdout holds the result alone."""

    def __init__(self, console: Console | None = None, *, plain: bool = False) -> None:
        self._console = console or Console(stderr=True, highlight=False, no_color=plain)
        self._bars: Progress | None = None
        self._tasks: dict[Part, TaskID] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._bars = Progress(*columns, console=self._console, transient=True)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def say(self, line: str) -> None:
        """One line; above the bars where there are any."""
        style = "dim" if self._console.is_terminal else None
        self._console.print(line, style=style, markup=False, soft_wrap=True)

    def transfer(self, part: Part, received: int, total: int | None) -> None:
        """How far a file has come; its bar goes when it is whole."""
        if self._bars is None:
            return
        if part not in self._tasks:
            self._tasks[part] = self._bars.add_task(str(part), total=total)
        self._bars.update(
            self._tasks[part], completed=received, total=total, visible=received != total
        )
