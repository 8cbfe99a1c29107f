"""Who is at the keyboard, for what is recorded as a person's decision.

Nothing is allowed or refused by this name.
"""

from __future__ import annotations

import getpass
import os


def current_user() -> str:
    """The login name; the number where the system knows no name for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
