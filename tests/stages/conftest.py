"""Fixtures of this room's tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from transfers import client, get, hands, server

__all__ = ["client", "full_port", "get", "hands", "server"]


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue of connections is full, so that one more gets no answer."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
