"""The name of the operator, for records of operator decisions; no permission depends on it."""

from __future__ import annotations

import getpass
import os


def current_user() -> str:
    """Returns the login name, or the user id where the system has no name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
