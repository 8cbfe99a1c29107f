"""The base of everything that a person declares, and how names are spelt.

What is declared is `etl_assets.declarations.source`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

NAME = r"^[a-z][a-z0-9_]*$"
COLUMN_NAME = r"^[A-Za-z][A-Za-z0-9_]*$"


class Declaration(BaseModel):
    """Base of every declaration: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
