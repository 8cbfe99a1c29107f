"""The settings of this machine: the only module that reads the environment and `.env` files.

What is the same on every machine belongs in the YAML files under `domains/`; where files are kept
below the home is in `etl_assets.model.home`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

from dotenv import dotenv_values
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from etl_assets.declarations.overrides import Override
from etl_assets.declarations.rules import RuleViolation
from etl_assets.marts.profile import DbtProfile
from etl_assets.model.errors import SettingsError
from etl_assets.model.home import Home
from etl_assets.settings_file import SettingsFileSource, is_secret
from etl_assets.storage.postgres import Database, check_url

PREFIX = "ETL_"
PACKAGE = Path(__file__).parent
ARGUMENT, ENVIRONMENT, DEFAULT = "argument", "environment", "default"
URL_CHARACTERS = frozenset("?%")
# Of the environment, what a program of the operator gets that is not of this project.
PLAIN_VARIABLES = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CACHE_HOME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
OTHER_VARIABLES = frozenset({"ETL_CANDIDATE"})  # of a command that a domain declares in `verify`
# Kubernetes adds these to every container, for each service whose name begins with "etl"
# (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
KUBERNETES_VARIABLE = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT|PORT)(_\w+)?")
VARIABLE = re.compile(rf"\b{PREFIX}\w+")
TEXT_SUFFIXES = frozenset({".yaml", ".yml", ".sql", ".py", ".sh"})
LOCATING = frozenset({"home", "config"})  # they decide which files are read


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it is shown: of a secret, only whether it is set."""

    name: str
    variable: str
    value: str | bool | None
    is_secret: bool
    origin: str
    """`argument`, the settings file, `environment`, the `.env` file, or `default`."""
    description: str


class Settings(BaseSettings):
    """Where to work and how; each field is the variable `ETL_<FIELD>` unless it has an alias.

    A settings file takes precedence over the environment, the environment over the `.env` of the
    home, and that over the `.env` of the current directory.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    home: Path = Field(
        default_factory=Path.cwd,
        description="the directory for all output; default: the current directory",
    )
    mirror: str | None = Field(
        default=None, description="https://host/path is fetched from <mirror>/host/path"
    )
    dagster_home: Path = Field(
        default_factory=lambda values: Home(values["home"]).dagster,
        validation_alias="DAGSTER_HOME",
        description="Dagster's storage; default: .dagster in the home",
    )
    event_log: str | None = Field(
        default=None,
        description="a PostgreSQL database for the event log and the locks of several hosts,"
        " postgresql://user@host/database; default: SQLite in DAGSTER_HOME",
    )
    event_log_password_env: str | None = Field(
        default=None, description="the name of the variable that has the password of its user"
    )
    scratch: Path | None = Field(
        default=None,
        description="a folder on a disk of this machine for builds and temporary files, for a home"
        " that several hosts share; default: in the home",
    )
    launcher: Literal["local", "celery", "k8s"] = Field(
        default="local",
        description="what executes runs: this process, a Celery worker or a Kubernetes job",
    )
    broker: SecretStr | None = Field(
        default=None, description="the message broker of Celery, redis://host:port/number"
    )
    notify: SecretStr | None = Field(
        default=None, description="addresses to notify of failures, as apprise spells them"
    )
    proxy: SecretStr | None = Field(
        default=None, description="an HTTP proxy through which public files are fetched"
    )
    signing_key: Path | None = Field(
        default=None, description="the file of an OpenPGP secret key that signs published sets"
    )
    signing_passphrase: SecretStr | None = Field(
        default=None, description="the passphrase of that key"
    )
    domains_dir: Path = Field(default=PACKAGE / "domains", description="the declarations")
    dbt_dir: Path = Field(default=PACKAGE.parent / "dbt_project", description="the SQL")
    dbt_profiles: Path | None = Field(
        default=None, description="a folder with another profiles.yml for dbt"
    )
    dbt_target: str | None = Field(
        default=None, description="the target of the profile; default: the one that it names"
    )
    samples_dir: Path = Field(
        default=PACKAGE.parent / "samples", description="small mirrors for the demo"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="the lowest level of the project's own log that is shown"
    )
    automation: bool = Field(
        default=False, description="sensors and schedules run as soon as `etl ui` starts"
    )
    ui_hosts: str = Field(
        default="localhost 127.0.0.1 [::1]",
        description="host names by which a browser may reach `etl ui`, separated by spaces",
    )
    force_refresh: bool = Field(
        default=False, description="`etl run` downloads every file, as with --force-refresh"
    )
    dry_run: bool = Field(
        default=False, description="`etl run` prints what it would fetch, as with --dry-run"
    )
    no_color: bool = Field(default=False, description="plain output; so does NO_COLOR")
    config: Path | None = Field(
        default=None,
        description="a YAML file of settings, which takes precedence over the environment",
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _overrides: list[Override] = PrivateAttr(default_factory=list)

    @classmethod
    def load(cls, **arguments: Any) -> Self:
        """Returns the settings of this process; an argument that is None counts as not given.

        Raises SettingsError with every wrong value.
        """
        arguments = {name: value for name, value in arguments.items() if value is not None}
        # pydantic-settings builds its own sources below, and keeps neither the origin of a value
        # nor its line in a file: for these, and for the messages, they are built here too.
        sources = build_sources(InitSettingsSource(cls, arguments))
        try:
            settings = cls(**arguments)
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise SettingsError("\n".join(_error_lines(details, sources))) from error
        if problems := _error_lines([], sources):
            raise SettingsError("\n".join(problems))
        settings._origins.update(_origins(sources))
        if file := _settings_file(sources):
            settings._overrides += file.overrides
        return settings

    @property
    def overrides(self) -> list[Override]:
        """The values of the settings file that replace declared ones."""
        return self._overrides

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return tuple(build_sources(init_settings).values())

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_empty_text(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise ValueError("expected a value, or no variable at all, found an empty text")
        return value

    @field_validator(
        "home",
        "dagster_home",
        "domains_dir",
        "dbt_dir",
        "samples_dir",
        "config",
        "signing_key",
        "dbt_profiles",
        "scratch",
    )
    @classmethod
    def _make_absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().resolve()

    @field_validator("home", "dagster_home")
    @classmethod
    def _refuse_url_characters(cls, value: Path) -> Path:
        # Dagster puts the path into a URL of SQLite as it is: what follows a `?` would be options,
        # and the event log would be another file.
        if found := sorted(URL_CHARACTERS.intersection(str(value))):
            raise ValueError(
                "expected a path without ? and %, which Dagster's event log cannot have in its"
                f" address, found {' and '.join(found)} in {str(value)!r}"
            )
        return value

    @field_validator("home", "scratch")
    @classmethod
    def _refuse_list_characters(cls, value: Path | None) -> Path | None:
        # DuckDB takes the home for a list of paths (`file_search_path`) and has no escape for a
        # comma; dbt-duckdb takes the path of the warehouse for a URL.
        if found := sorted({",", "#"}.intersection(str(value))):
            raise ValueError(
                "expected a path without a comma and #, which dbt cannot open,"
                f" found {' and '.join(found)} in {str(value)!r}"
            )
        return value

    @field_validator("mirror")
    @classmethod
    def _check_mirror(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if re.match(r"https?://[^/]", value):
            return value.rstrip("/")
        if "://" not in value:
            # A relative directory in the `.env` of a home moves with the home.
            for base in (Path.cwd(), info.data.get("home", Path.cwd())):
                directory = base / Path(value).expanduser()
                if directory.is_dir():
                    return str(directory.resolve())
        actual = _mask_password(value)
        raise ValueError(f"expected a URL (http, https) or a directory, found {actual!r}")

    @field_validator("event_log")
    @classmethod
    def _check_event_log(cls, value: str | None) -> str | None:
        return value and check_url(value)

    @field_validator("launcher")
    @classmethod
    def _require_database(cls, value: str, info: ValidationInfo) -> str:
        if value != "local" and not info.data.get("event_log"):
            raise ValueError(f"expected ETL_EVENT_LOG beside {value}, found no such variable")
        return value

    @field_validator("notify")
    @classmethod
    def _check_addresses(cls, value: SecretStr | None) -> SecretStr | None:
        addresses = value.get_secret_value().split() if value else []
        if wrong := [str(n) for n, address in enumerate(addresses, 1) if "://" not in address]:
            raise ValueError(
                "expected addresses such as mailto://... or json://..., with blanks between them,"
                f" found another text at place {', '.join(wrong)}"
            )
        return value

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.fullmatch(r"https?://[^/\s]+/?", value.get_secret_value()):
            raise ValueError("expected http://host:port or https://host:port, found another text")
        return value

    @property
    def home_paths(self) -> Home:
        """The home, with the part of it that is on a disk of this machine."""
        return Home(self.home, self.scratch)

    @property
    def event_log_database(self) -> Database | None:
        """The database of the event log, or None if it is SQLite.

        Raises SettingsError if the variable of the password is not set.
        """
        if self.event_log is None:
            return None
        variable = self.event_log_password_env
        return Database(self.event_log, self.secret(variable) if variable else None)

    @property
    def event_log_folder(self) -> Path | None:
        """The folder of the SQLite databases of the event log; None if it is in PostgreSQL."""
        return self.dagster_home if self.event_log is None else None

    @property
    def dbt_profile(self) -> DbtProfile | None:
        """The profile of this installation, or None for that of the dbt project."""
        if self.dbt_profiles is None and self.dbt_target is None:
            return None
        return DbtProfile(self.dbt_profiles or self.dbt_dir, self.dbt_target, os.environ)

    @property
    def notify_targets(self) -> list[SecretStr]:
        """The addresses to notify, each once; they are secret, as they have passwords in them."""
        addresses = self.notify.get_secret_value().split() if self.notify else []
        return [SecretStr(address) for address in dict.fromkeys(addresses)]

    def find_secret(self, variable: str) -> SecretStr | None:
        """Returns the current value of a variable, or None if it is not set.

        Raises SettingsError if it is set and empty.
        """
        for variables in _variables(self.home).values():
            value = variables.get(variable)
            if value is not None:
                if not value.strip():
                    self._refuse_secret(variable, "an empty text")
                return SecretStr(value)
        return None

    def secret(self, variable: str) -> SecretStr:
        """Returns the same; raises SettingsError if the variable is not set, too."""
        return self.find_secret(variable) or self._refuse_secret(variable, "no such variable")

    def _refuse_secret(self, variable: str, actual: str) -> NoReturn:
        places = f"the environment or {self.home / '.env'}"
        raise SettingsError(f"{variable}: expected a secret in {places}, found {actual}")

    def origin_of_secret(self, variable: str) -> str | None:
        """Returns `environment` or the `.env` file that sets the variable, or None."""
        for origin, variables in _variables(self.home).items():
            if variables.get(variable) is not None:
                return origin
        return None

    def find_unknown_variables(self) -> Iterator[str]:
        """Yields a line for each variable that has the prefix and that nothing reads.

        Declarations, the dbt project and a profile may name further variables, such as secrets.
        """
        known = {_variable_of(name) for name in type(self).model_fields}
        others = {*OTHER_VARIABLES, self.event_log_password_env or ""}
        origins: dict[str, str] = {}
        for origin, variables in _variables(self.home).items():
            for name in variables:
                if name.upper().startswith(PREFIX) and name.upper() not in known | others:
                    origins.setdefault(name, origin)
        unknown = {name for name in origins if not KUBERNETES_VARIABLE.fullmatch(name)}
        unknown -= self._find_named_variables(unknown)
        for name in sorted(unknown):
            nearest = get_close_matches(name.upper(), known, n=1, cutoff=0.7)
            hint = f"; did you mean {nearest[0]}?" if nearest else "; `etl config show` lists them"
            yield f"{name} ({origins[name]}): expected a setting, found none of this name{hint}"

    def _find_named_variables(self, names: Collection[str]) -> set[str]:
        """Returns those of the names that a declaration, a model or a profile has in its text."""
        folders = [self.domains_dir, self.dbt_dir, *filter(None, [self.dbt_profiles])]
        words: set[str] = set()
        for folder in folders if names else ():
            for file in folder.rglob("*"):
                if file.suffix in TEXT_SUFFIXES and file.is_file() and os.access(file, os.R_OK):
                    words.update(VARIABLE.findall(file.read_text("utf-8", errors="replace")))
        return words.intersection(names)

    def describe(self) -> Iterator[Setting]:
        """Yields every setting in the order of this class."""
        for name, field in type(self).model_fields.items():
            value, origin = getattr(self, name), self._origins.get(name, DEFAULT)
            if is_secret(field):
                value = value is not None
            elif value is not None and not isinstance(value, bool):
                value = _mask_password(str(value))
            variable = _variable_of(name)
            if name == "no_color" and origin == ENVIRONMENT and os.environ.get("NO_COLOR"):
                variable = "NO_COLOR"
            yield Setting(
                name=name,
                variable=variable,
                value=value,
                is_secret=is_secret(field),
                origin=origin,
                description=field.description or "",
            )

    def child_environment(self) -> dict[str, str]:
        """Returns the environment for a child process with the same home and data."""
        variables = {
            f"{PREFIX}HOME": str(self.home),
            f"{PREFIX}DOMAINS_DIR": str(self.domains_dir),
            f"{PREFIX}DBT_DIR": str(self.dbt_dir),
            f"{PREFIX}SAMPLES_DIR": str(self.samples_dir),
            "DAGSTER_HOME": str(self.dagster_home),
        }
        if self.mirror:
            variables[f"{PREFIX}MIRROR"] = self.mirror
        others = {
            "CONFIG": self.config,
            "EVENT_LOG": self.event_log,
            "EVENT_LOG_PASSWORD_ENV": self.event_log_password_env,
            "DBT_PROFILES": self.dbt_profiles,
            "DBT_TARGET": self.dbt_target,
            "SCRATCH": self.scratch,
        }
        variables |= {f"{PREFIX}{name}": str(value) for name, value in others.items() if value}
        return {**os.environ, **variables}

    def export_dagster_home(self) -> None:
        """Let code of Dagster's in this process open the instance of these settings."""
        os.environ["DAGSTER_HOME"] = str(self.dagster_home)

    def plain_environment(self) -> dict[str, str]:
        """Returns the environment for a program that needs no setting and no secret of ours."""
        return {name: os.environ[name] for name in PLAIN_VARIABLES if name in os.environ}


class EnvironmentSource(EnvSettingsSource):
    """The environment; NO_COLOR with any value is a setting too (https://no-color.org)."""

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        return values | {"no_color": True} if os.environ.get("NO_COLOR") else values


class HomeEnvFileSource(DotEnvSettingsSource):
    """The `.env` file of the home, without the two settings that it was found by."""

    def __call__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__call__().items() if key not in LOCATING}


def build_sources(arguments: PydanticBaseSettingsSource) -> dict[str, PydanticBaseSettingsSource]:
    """Returns the sources of values by their origin, those of the highest precedence first.

    Other sources may name the settings file, and the settings file may name the home, whose `.env`
    is a source again: so they are found one after the other.
    """
    environment = EnvironmentSource(Settings)
    current_env_file = DotEnvSettingsSource(Settings, env_file=Path.cwd() / ".env")
    sources = {ARGUMENT: arguments, ENVIRONMENT: environment}
    config = _first_path("config", [arguments, environment, current_env_file])
    if config:
        file = SettingsFileSource(Settings, config)
        sources = {ARGUMENT: arguments, str(config): file, ENVIRONMENT: environment}
    home = _first_path("home", [*sources.values(), current_env_file])
    if home and home != Path.cwd():
        sources[str(home / ".env")] = HomeEnvFileSource(Settings, env_file=home / ".env")
    return {**sources, str(Path.cwd() / ".env"): current_env_file}


def _first_path(key: str, sources: Iterable[PydanticBaseSettingsSource]) -> Path | None:
    """Returns the path in the first source that has the key; None if none has, or it is empty."""
    for source in sources:
        values = source()
        if key in values:
            # Validation reports an empty text.
            is_empty = not str(values[key]).strip()
            return None if is_empty else Path(values[key]).expanduser().resolve()
    return None


def _origins(sources: Mapping[str, PydanticBaseSettingsSource]) -> dict[str, str]:
    """Returns the origin of each field that a source has a value of."""
    origins: dict[str, str] = {}
    for origin, source in sources.items():
        for key in source():
            origins.setdefault(key.lower(), origin)  # a source may use the alias, DAGSTER_HOME
    return origins


def _variables(home: Path) -> dict[str, Mapping[str, str | None]]:
    """Returns the variables of the environment and the `.env` files, by their origin."""
    files = (home / ".env", Path.cwd() / ".env")
    return {ENVIRONMENT: os.environ, **{str(file): dotenv_values(file) for file in files}}


def _variable_of(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{field.upper()}"


def _error_lines(
    details: Iterable[ErrorDetails], sources: Mapping[str, PydanticBaseSettingsSource]
) -> list[str]:
    """Returns one line for each wrong value: first those of the settings file, by line."""
    file = _settings_file(sources)
    origins = _origins(sources)
    violations = list(file.violations) if file else []
    lines = []
    for detail in details:
        if detail["type"] == "default_factory_not_called":
            continue  # only because another field is wrong
        field = str(detail["loc"][0]).lower()
        expected, actual = _describe_error(detail)
        if file and origins.get(field) == str(file.path):
            violations.append(RuleViolation((field,), expected, actual))
        else:
            lines.append(f"{_variable_of(field)}: expected {expected}, found {actual}")
    located = file.document.problems(violations) if file else []
    return [*map(str, located), *lines]


def _settings_file(
    sources: Mapping[str, PydanticBaseSettingsSource],
) -> SettingsFileSource | None:
    return next((s for s in sources.values() if isinstance(s, SettingsFileSource)), None)


def _describe_error(detail: ErrorDetails) -> tuple[str, str]:
    """Returns what was expected, and what was found."""
    if error := detail.get("ctx", {}).get("error"):
        # The validators above raise "expected x, found y".
        expected, _, actual = str(error).removeprefix("expected ").rpartition(", found ")
        return expected, actual
    expected = detail["msg"].removeprefix("Input should be ")
    return expected, repr(_mask_password(str(detail["input"])))


def _mask_password(text: str) -> str:
    return re.sub(r"(//)[^/@\s]+@", r"\1***@", text)
