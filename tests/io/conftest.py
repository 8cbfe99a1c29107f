"""Fixtures of this room's tests."""

from transfers import client, hands, server

__all__ = ["client", "hands", "server"]
