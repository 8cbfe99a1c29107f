"""What this machine says: the only reader of the environment, of `.env` and of a file of settings.

Names and defaults of settings belong here. What is declared of a source is YAML under `domains/`;
where things lie under the home is `etl_assets.model.home`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from etl_assets import settings_file
from etl_assets.declarations.rules import RuleViolation
from etl_assets.model.errors import SettingsError
from etl_assets.model.home import Home

PREFIX = "ETL_"
PACKAGE = Path(__file__).parent
ENVIRONMENT, DEFAULT = "environment", "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as a person may see it: of a secret, only whether it is set."""

    name: str
    variable: str
    value: str | bool | None
    is_secret: bool
    origin: str
    """`environment`, the file that says it, or `default`."""
    description: str


class Settings(BaseSettings):
    """Where to work and how; each field is the variable `ETL_<FIELD>` unless it says otherwise.

    A file of settings goes before the environment, that before `.env` of the home, and that before
    `.env` of the current directory.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    home: Path = Field(description="holds all that is written; default: the current directory")
    mirror: str | None = Field(
        default=None, description="https://host/path is fetched from <mirror>/host/path"
    )
    dagster_home: Path = Field(
        default=Path(),
        validation_alias="DAGSTER_HOME",
        validate_default=True,
        description="Dagster's storage; default: .dagster in the home",
    )
    notify: SecretStr | None = Field(
        default=None, description="who hears of failures: addresses as apprise spells them"
    )
    proxy: SecretStr | None = Field(
        default=None, description="an HTTP proxy through which public files are fetched"
    )
    domains_dir: Path = Field(default=PACKAGE / "domains", description="the declarations")
    dbt_dir: Path = Field(default=PACKAGE.parent / "dbt_project", description="the SQL")
    samples_dir: Path = Field(
        default=PACKAGE.parent / "samples", description="small mirrors for the demo"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="from which level on the project's own log is shown"
    )
    no_color: bool = Field(default=False, description="plain output; so does NO_COLOR")
    config: Path | None = Field(
        default=None, description="a YAML file of settings, which goes before the environment"
    )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Settings of this process; an override that is None counts as not given."""
        given = {name: value for name, value in overrides.items() if value is not None}
        config = _config(given)
        said = settings_file.read(config, _keys()) if config else None
        given = {**(said.values if said else {}), **given, "config": config}
        home = _home(given)
        if "no_color" not in given and os.environ.get("NO_COLOR"):
            given["no_color"] = True
        try:
            found = cls(**{**given, "home": home}, _env_file=_env_files(home))
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise SettingsError("\n".join(_lines(details, said, overrides))) from error
        if said and said.broken:
            raise SettingsError("\n".join(_lines([], said, overrides)))
        return found

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_no_value(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise ValueError("expected a value, or no variable at all, found an empty text")
        return value

    @field_validator("home", "domains_dir", "dbt_dir", "samples_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("dagster_home")
    @classmethod
    def _in_the_home_by_default(cls, value: Path, info: ValidationInfo) -> Path:
        if value == Path() and "home" in info.data:
            return Home(info.data["home"]).dagster
        return value.expanduser().resolve()

    @field_validator("mirror")
    @classmethod
    def _url_or_directory(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or re.match(r"https?://[^/]", value):
            return value and value.rstrip("/")
        # A relative directory moves with the home whose .env names it: both places are looked at.
        for base in (Path.cwd(), info.data.get("home", Path.cwd())):
            if "://" not in value and (base / Path(value).expanduser()).is_dir():
                return str((base / Path(value).expanduser()).resolve())
        raise ValueError(f"expected a URL (http, https) or a directory, found {_masked(value)!r}")

    @field_validator("notify")
    @classmethod
    def _addresses(cls, value: SecretStr | None) -> SecretStr | None:
        words = value.get_secret_value().split() if value else []
        if wrong := [number for number, word in enumerate(words, 1) if "://" not in word]:
            places = ", ".join(map(str, wrong))
            raise ValueError(
                "expected addresses such as mailto://... or json://..., with blanks between them,"
                f" found another text at place {places}"
            )
        return value

    @field_validator("proxy")
    @classmethod
    def _http_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.fullmatch(r"https?://[^/\s]+/?", value.get_secret_value()):
            raise ValueError("expected http://host:port or https://host:port, found another text")
        return value

    @property
    def targets(self) -> list[SecretStr]:
        """Who is notified; each is a secret, for it holds passwords and tokens."""
        words = self.notify.get_secret_value().split() if self.notify else []
        return [SecretStr(word) for word in dict.fromkeys(words)]

    def secret(self, name: str) -> SecretStr:
        """The named variable's value, read now; SettingsError where it is missing or empty."""
        value = _layers(self.home).get(name)
        if value is None or not value.strip():
            found = "no such variable" if value is None else "an empty text"
            places = f"the environment or {self.home / '.env'}"
            raise SettingsError(f"{name}: expected a secret in {places}, found {found}")
        return SecretStr(value)

    def find_secret(self, name: str) -> SecretStr | None:
        """The same; None where there is no such variable. An empty one is an error all the same."""
        return None if _layers(self.home).get(name) is None else self.secret(name)

    def shown(self) -> Iterator[Setting]:
        """Every setting in the order of this class."""
        said = settings_file.read(self.config, _keys()).values if self.config else {}
        for name, field in type(self).model_fields.items():
            value, variable = getattr(self, name), _variable(name)
            if name == "no_color" and name not in said and os.environ.get("NO_COLOR"):
                variable = "NO_COLOR"
            is_secret = "SecretStr" in str(field.annotation)
            is_plain = isinstance(value, bool) or value is None
            yield Setting(
                name=name,
                variable=variable,
                value=bool(value) if is_secret else value if is_plain else _masked(str(value)),
                is_secret=is_secret,
                origin=str(self.config) if name in said else self.origin_of(variable) or DEFAULT,
                description=field.description or "",
            )

    def origin_of(self, variable: str) -> str | None:
        """Where a variable has its value from, in whichever case; None where nothing says it."""
        if _says(os.environ, variable):
            return ENVIRONMENT
        files = _env_files(self.home)
        # The home's own file is found by the home, and is not asked where that is.
        before_the_home = variable in {_variable("home"), _variable("config")}
        for file in files[:1] if before_the_home else reversed(files):
            if _says(dotenv_values(file), variable):
                return str(file)
        return None

    def child_environment(self) -> dict[str, str]:
        """The environment for a child process that works in the same home on the same data."""
        decided = {
            f"{PREFIX}HOME": str(self.home),
            f"{PREFIX}DOMAINS_DIR": str(self.domains_dir),
            f"{PREFIX}DBT_DIR": str(self.dbt_dir),
            f"{PREFIX}SAMPLES_DIR": str(self.samples_dir),
            "DAGSTER_HOME": str(self.dagster_home),
        }
        if self.mirror:
            decided[f"{PREFIX}MIRROR"] = self.mirror
        if self.config:
            decided[f"{PREFIX}CONFIG"] = str(self.config)
        return {**os.environ, **decided}


def _variable(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{field.upper()}"


def _says(variables: Mapping[str, str | None], name: str) -> bool:
    said = {key.upper() for key, value in variables.items() if value is not None}
    return name.upper() in said


def _env_files(home: Path) -> tuple[Path, ...]:
    return (Path.cwd() / ".env", home / ".env")


def _layers(home: Path) -> dict[str, str | None]:
    merged: dict[str, str | None] = {}
    for file in _env_files(home):
        merged |= dotenv_values(file)
    return merged | dict(os.environ)


def _home(given: dict[str, Any]) -> Path:
    """The home decides which `.env` is read, so it is known before all else."""
    here = Path.cwd()
    named = str(given.get("home", _layers(here).get(f"{PREFIX}HOME", here)) or "")
    if not named.strip():
        raise SettingsError(f"{PREFIX}HOME: expected a directory, found an empty text")
    return Path(named).expanduser().resolve()


def _config(given: Mapping[str, Any]) -> Path | None:
    """The file of settings may name the home, so it is known even before that."""
    named = given.get("config", _layers(Path.cwd()).get(f"{PREFIX}CONFIG"))
    if named is None:
        return None
    if not str(named).strip():
        raise SettingsError(f"{PREFIX}CONFIG: expected a file of settings, found an empty text")
    return Path(named).expanduser().resolve()


@cache
def _keys() -> settings_file.Keys:
    """The settings that a file may hold: all but where it lies itself."""
    kinds = {name: str(f.annotation) for name, f in Settings.model_fields.items()}
    del kinds["config"]
    return settings_file.Keys(
        all=list(kinds),
        flags={name for name, kind in kinds.items() if "bool" in kind},
        paths={name for name, kind in kinds.items() if "Path" in kind} | {"mirror"},
        secrets={name for name, kind in kinds.items() if "SecretStr" in kind},
    )


def _lines(
    details: Sequence[ErrorDetails],
    said: settings_file.SettingsFile | None,
    overrides: Mapping[str, Any],
) -> list[str]:
    """One line for each fault: those of the file by their lines, then those of variables."""
    of_file: list[RuleViolation] = []
    lines = []
    for detail in details:
        field = str(detail["loc"][0])
        key = "dagster_home" if field == "DAGSTER_HOME" else field
        expected, found = _sentence(detail)
        if said and key in said.values and overrides.get(key) is None:
            of_file.append(RuleViolation((key,), expected, found))
        else:
            name = field if field.isupper() else f"{PREFIX}{field.upper()}"
            lines.append(f"{name}: expected {expected}, found {found}")
    return [*(str(problem) for problem in (said.located(of_file) if said else ())), *lines]


def _sentence(detail: ErrorDetails) -> tuple[str, str]:
    """What was expected, and what was found."""
    if cause := detail.get("ctx", {}).get("error"):
        expected, _, found = str(cause).removeprefix("expected ").rpartition(", found ")
        return expected, found
    return detail["msg"].removeprefix("Input should be "), repr(_masked(str(detail["input"])))


def _masked(text: str) -> str:
    return re.sub(r"(//)[^/@\s]+@", r"\1***@", text)
