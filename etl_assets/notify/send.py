"""Messages to people through apprise: mail, web hooks and whatever else it speaks.

What is said, and whether, is `etl_assets.notify.notification`. Nothing here names a target's
secrets.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import SecretStr

from etl_assets.fetch.network_guard import MASK
from etl_assets.notify.notice import Notification, UnsentNotification

if TYPE_CHECKING:
    from apprise import NotifyBase

ID_DIGITS = 16
WORDS = re.compile(r"[^/:@?&=,;+#%\s]{4,}")
HOST_NAME = re.compile(r"(?i)localhost|[a-z0-9-]+(\.[a-z0-9-]+)+")
TALKATIVE = ("apprise", "urllib3")


def target_id(target: SecretStr) -> str:
    """What stands for a target where it must not be named."""
    return hashlib.sha256(target.get_secret_value().encode()).hexdigest()[:ID_DIGITS]


def send(target: SecretStr, number: int, notice: Notification) -> UnsentNotification | None:
    """Tell one target; None where it took the message, else why not."""
    from apprise import Apprise, NotifyFormat, NotifyType

    name = f"target {number} of ETL_NOTIFY"
    with _heard() as heard:
        service: NotifyBase | None = Apprise.instantiate(target.get_secret_value())
        if service is None:
            return UnsentNotification(
                target=name, why="expected an address that apprise knows, found another"
            )
        name = f"{name} ({service.service_name})"
        is_sent = service.notify(
            body="\n".join(notice.lines),
            title=notice.title,
            notify_type=NotifyType(notice.kind),
            body_format=NotifyFormat.TEXT,
        )
    if is_sent:
        return None
    return UnsentNotification(
        target=name, why=_masked(" ".join(heard) or "it gave no reason", target)
    )


def _masked(text: str, target: SecretStr) -> str:
    """The text without any word of the target's address; host names are no secrets."""
    scheme, _, rest = target.get_secret_value().partition("://")
    for word in sorted(set(WORDS.findall(rest)) - {scheme}, key=len, reverse=True):
        if not HOST_NAME.fullmatch(word):
            text = text.replace(word, MASK)
    return text


@contextmanager
def _heard() -> Iterator[list[str]]:
    """The warnings of the libraries, kept to ourselves: below them, they log whole addresses."""
    lines: list[str] = []
    ear = _Ear(lines)
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(ear)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    try:
        yield lines
    finally:
        for logger, (level, propagates) in zip(loggers, before, strict=True):
            logger.removeHandler(ear)
            logger.setLevel(level)
            logger.propagate = propagates


class _Ear(logging.Handler):
    """Collects messages."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())
