"""Fixtures of this room's tests."""

from hearing import hook, letters
from transfers import client, hands, server

__all__ = ["client", "hands", "hook", "letters", "server"]
