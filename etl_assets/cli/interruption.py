"""SIGINT and SIGTERM: how a command ends, and what it says of its work.

The exit codes of everything else are in `output`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# A process that a signal ends has exit code 128 + its number.
SIGNAL_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
CONTINUES = "interrupted: finished work is kept; run the same command again to continue"
CHANGES_NOTHING = "interrupted: nothing was changed"
MESSAGES = {
    "demo": "interrupted: run the same command again to play the demo from its beginning",
    "ui": "the pages have ended, and with them the runs that were launched there; run the same"
    " command again to start them",
    **dict.fromkeys(
        (
            "changes", "check", "config", "diff", "explain", "health", "probe", "sample", "sources",
            "stats", "status", "verify",
        ),
        CHANGES_NOTHING,
    ),
}  # fmt: skip


def describe_interruption(verb: str | None) -> str:
    """Returns what became of the work of a verb that a signal ended, or that had not begun."""
    return MESSAGES.get(verb, CONTINUES) if verb else CHANGES_NOTHING


class SignalReceived(BaseException):
    """SIGINT or SIGTERM; not an Exception, so that no `except Exception` swallows it."""


@contextmanager
def interruptible() -> Iterator[Callable[[], signal.Signals]]:
    """Turns SIGINT and SIGTERM into an exception; yields a function that returns the first one."""

    def handle(_number: int, _frame: object) -> None:
        raise SignalReceived

    def first_signal() -> signal.Signals:
        received = [signal.Signals(n) for n in os.read(read_end, 64) if n in SIGNAL_EXIT_CODES]
        return received[0] if received else signal.SIGINT

    # Dagster installs its own handlers during a run and raises on SIGTERM as on SIGINT; the wakeup
    # pipe is written by the interpreter itself and so still knows which signal it was.
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    previous_wakeup_fd = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    previous_handlers = {number: signal.signal(number, handle) for number in SIGNAL_EXIT_CODES}
    try:
        yield first_signal
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous_wakeup_fd)
        os.close(read_end)
        os.close(write_end)
