"""Send a notification through apprise: mail, web hooks and the other services that it knows.

What the message says is in `etl_assets.notify.notification`. No message here names a secret of a
target.
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
from etl_assets.notify.notification import Notification, UnsentNotification

if TYPE_CHECKING:
    from apprise import NotifyBase

ID_DIGITS = 16
URL_WORD = re.compile(r"[^/:@?&=,;+#%\s]{4,}")  # shorter words would mask common text
HOST_NAME = re.compile(r"(?i)localhost|[a-z0-9-]+(\.[a-z0-9-]+)+")
LIBRARY_LOGGERS = ("apprise", "urllib3")


def target_id(target: SecretStr) -> str:
    """Returns a digest that identifies a target without its address, which may hold secrets."""
    return hashlib.sha256(target.get_secret_value().encode()).hexdigest()[:ID_DIGITS]


def send(target: SecretStr, number: int, notification: Notification) -> UnsentNotification | None:
    """Sends to one target, the `number`-th of ETL_NOTIFY; returns None, or why it failed."""
    from apprise import Apprise, NotifyFormat, NotifyType

    name = f"target {number} of ETL_NOTIFY"
    with _captured_warnings() as warnings:
        service: NotifyBase | None = Apprise.instantiate(target.get_secret_value())
        if service is None:
            return UnsentNotification(
                target=name, reason="expected an address that apprise knows, found another"
            )
        name = f"{name} ({service.service_name})"
        is_sent = service.notify(
            body="\n".join(notification.lines),
            title=notification.title,
            notify_type=NotifyType(notification.kind),
            # Names and messages of upstreams may hold HTML; as text it is never interpreted.
            body_format=NotifyFormat.TEXT,
        )
    if is_sent:
        return None
    reason = " ".join(warnings) or "apprise gave no reason"
    return UnsentNotification(target=name, reason=_mask_secrets(reason, target))


def _mask_secrets(text: str, target: SecretStr) -> str:
    """Returns the text with every word of the target's address masked, except for host names."""
    scheme, _, rest = target.get_secret_value().partition("://")
    # The longest first, as one word may be part of another.
    for secret in sorted(set(URL_WORD.findall(rest)) - {scheme}, key=len, reverse=True):
        if not HOST_NAME.fullmatch(secret):
            text = text.replace(secret, MASK)
    return text


@contextmanager
def _captured_warnings() -> Iterator[list[str]]:
    """Collects the warnings of the libraries instead of logging them.

    They log whole addresses at lower levels, so nothing of theirs reaches a log.
    """
    messages: list[str] = []
    handler = _MessageCollector(messages)
    loggers = [logging.getLogger(name) for name in LIBRARY_LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    try:
        yield messages
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


class _MessageCollector(logging.Handler):
    """Appends the text of each warning to a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())
