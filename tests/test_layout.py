"""Rules of the architecture that no linter checks: functions from a repository to its violations.

Each rule is tested against this repository, which must have no violation, and against a small
repository with one violation, so that a rule that can no longer fail is noticed.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load
from etl_assets.declarations.source import Source

SPEAKS_DAGSTER = ("defs/", "definitions.py")
KNOWS_STANDARDS = ("tables/", "publish/", "declarations/")
VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"})
# Words of an earlier dialect of this code base. A name says what a thing is, in the words of the
# field: probe_result and not told, stored_file and not held, DomainStatus and not Standing.
BANNED_NAMES = frozenset(
    {
        *("custody", "fitness", "footing", "halfway", "head", "remains", "rehearsal", "standing"),
        *("told", "wire", "workplace", "whatif", "leave", "waves", "pins", "rulings", "desk"),
        *("stretch", "outcome", "complaint", "places", "word", "persist", "appear", "strangers_of"),
    }
)
MAX_MODULES_PER_FOLDER = 20
# Verbs that another verb's module answers, or a package below the operations.
MODULE_OF_VERB = {
    "backfill": "operations/run",
    "probe": "operations/run",
    "unpin": "operations/rollback",
    "forget": "operations/rollback",
    "demo": "demo/play",
    "sources": "declarations/load",
    "config": "settings",
}
ONE_MODULE_PER_STANDARD = ("tables/readers", "publish/writers")
WRITTEN_BY_PEOPLE = frozenset(
    {".py", ".sql", ".yaml", ".yml", ".md", ".toml", ".csv", ".json", ".sh", ".lock", ".j2", ""}
)
TOP_LEVEL = [
    *(".ci", ".github", "bench", "dbt_project", "docs", "etl_assets", "manifests", "samples"),
    *("tests", "Makefile", "README.md", "ARCHITECTURE.md", "GLOSSARY.md", "CONTRIBUTING.md"),
    "deploy",
    *("CHANGELOG.md", "pyproject.toml", "workspace.yaml", "requirements.lock", ".gitignore"),
    *("requirements-dev.lock", ".yamllint", ".pre-commit-config.yaml"),
]
# Classes of one letter keep this file from being its own offender.
FOREIGN = re.compile(
    r"(?<![\w.:/-])/(?:[r]oot|[h]ome/\w+|[U]sers/\w+|[w]ork|[o]pt)/"
    r"|pypi[.]org|[p]ythonhosted|[i]ndex-url\s*="
)


@dataclass(frozen=True)
class Repository:
    """A checkout, and what it declares."""

    root: Path

    @property
    def package(self) -> Path:
        return self.root / "etl_assets"

    @cached_property
    def domains(self) -> dict[str, Domain]:
        return load(self.package / "domains")

    @property
    def sources(self) -> list[Source]:
        return [source for domain in self.domains.values() for source in domain.sources.values()]

    def modules(self) -> Iterator[tuple[str, Path]]:
        """Every module of the package, with its name from the package's folder."""
        for path in sorted(self.package.rglob("*.py")):
            yield path.relative_to(self.package).as_posix(), path

    def models(self, folder: str = "*") -> Iterator[tuple[str, str, str]]:
        """Every dbt model of a layer: its domain, its name and its SQL."""
        for path in sorted((self.root / "dbt_project" / "models").glob(f"*/{folder}/**/*.sql")):
            domain = path.relative_to(self.root / "dbt_project" / "models").parts[0]
            yield domain, path.stem, path.read_text(encoding="utf-8")

    def texts(self) -> Iterator[tuple[str, str]]:
        """Every file that is written by hand, with its text."""
        for name in TOP_LEVEL:
            top = self.root / name
            for path in [top] if top.is_file() else sorted(top.rglob("*")):
                hidden = {"__pycache__", "target", "logs"} & set(path.parts)
                if path.is_file() and path.suffix in WRITTEN_BY_PEOPLE and not hidden:
                    yield path.relative_to(self.root).as_posix(), path.read_text(encoding="utf-8")


Offenders = Iterator[str]


def names_as_literals(repo: Repository) -> Offenders:
    """A domain or a source that Python names, where a declaration should."""
    domains = set(repo.domains)
    # A source may have the name of one of our own fields, which the word then means.
    names = domains | {source.name for source in repo.sources} - set(Domain.model_fields)
    standards = {path.stem for path in repo.package.glob("*/*ers/*.py")}
    for module, path in repo.modules():
        known = standards if module.startswith(KNOWS_STANDARDS) else set()
        for line, text in _literals(ast.parse(path.read_text(encoding="utf-8"))):
            is_sentence = " " in text.strip()
            words = set(re.findall(r"[a-z0-9]+" if is_sentence else r"\w+", text))
            for name in sorted((words & (domains if is_sentence else names)) - known):
                yield f"{module}:{line}: {name}"


def _literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The texts of a module, without docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.lineno, node.value


def python_among_declarations(repo: Repository) -> Offenders:
    yield from (name for name, _ in repo.modules() if name.startswith("domains/"))


def dagster_outside_defs(repo: Repository) -> Offenders:
    for module, path in repo.modules():
        if module.startswith(SPEAKS_DAGSTER):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            if any(re.match(r"dagster(_|\.|$)", name) for name in imported):
                yield f"{module}:{node.lineno}"


def vague_module_names(repo: Repository) -> Offenders:
    for module, _ in repo.modules():
        if VAGUE_NAMES & {part.removesuffix(".py") for part in module.split("/")}:
            yield module


def banned_names(repo: Repository) -> Offenders:
    """Modules, classes and functions that carry a banned name."""
    for module, path in repo.modules():
        if path.stem in BANNED_NAMES:
            yield module
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_named = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if is_named and node.name.strip("_").lower() in BANNED_NAMES:
                yield f"{module}:{node.lineno}: {node.name}"


def crowded_folders(repo: Repository) -> Offenders:
    modules = (Path(name) for name, path in repo.modules() if path.name != "__init__.py")
    for folder, count in sorted(Counter(module.parent.as_posix() for module in modules).items()):
        if folder not in ONE_MODULE_PER_STANDARD and count > MAX_MODULES_PER_FOLDER:
            yield f"{folder}: {count} modules"


def verbs_without_a_module(repo: Repository) -> Offenders:
    """Verbs of the command for which `operations` has no module of that name.

    `quarantine release` belongs to `quarantine`, the group that its function's name begins with.
    """
    for path in sorted(repo.package.glob("cli/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            if any("app.command(" in ast.unparse(call) for call in node.decorator_list):
                verb = node.name.split("_")[0]
                module = MODULE_OF_VERB.get(verb, f"operations/{verb}")
                if not (repo.package / f"{module}.py").exists():
                    yield f"cli/{path.name}: {verb}"


def code_in_init_files(repo: Repository) -> Offenders:
    for module, path in repo.modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "__init__.py" and not (ast.get_docstring(tree) and len(tree.body) == 1):
            yield module


def sources_without_a_staging_model(repo: Repository) -> Offenders:
    staged = {name for _, name, _ in repo.models("staging")}
    for source in repo.sources:
        if (wanted := f"stg_{source.domain}__{source.name}") not in staged:
            yield f"{source.full_name}: {wanted}.sql"


def sources_without_a_sample(repo: Repository) -> Offenders:
    for source in repo.sources:
        parts = urlsplit(source.location.url or "")
        place = source.location.path or f"{parts.hostname}{parts.path}"
        pattern = place.replace("{partition}", "*")
        if not any((repo.root / "samples" / source.domain).glob(f"**/{pattern}")):
            yield f"{source.full_name}: samples/{source.domain}/.../{place}"


def staging_models_that_read_more_than_one_thing(repo: Repository) -> Offenders:
    for _, name, sql in repo.models("staging"):
        if len(_sources_read(sql)) != 1 or _models_read(sql):
            yield f"{name}: {sorted(_sources_read(sql) | _models_read(sql))}"


def staging_models_that_read_another_source(repo: Repository) -> Offenders:
    by_model = {f"stg_{s.domain}__{s.name}": f"{s.domain}.{s.name}" for s in repo.sources}
    for _, name, sql in repo.models("staging"):
        if name in by_model and by_model[name] not in _sources_read(sql):
            yield f"{name}: {sorted(_sources_read(sql))}"


def raw_tables_read_beyond_staging(repo: Repository) -> Offenders:
    for layer in ("intermediate", "marts"):
        for _, name, sql in repo.models(layer):
            yield from (f"{name}: {source}" for source in sorted(_sources_read(sql)))


def models_read_across_domains(repo: Repository) -> Offenders:
    homes = {name: domain for domain, name, _ in repo.models()}
    for domain, name, sql in repo.models():
        for read in sorted(_models_read(sql)):
            if homes.get(read, domain) != domain:
                yield f"{name}: {read}"


def domains_named_outside_their_folders(repo: Repository) -> Offenders:
    """A domain must go with its folders: no SQL or configuration elsewhere may name it."""
    for name, text in repo.texts():
        if name.startswith("dbt_project/"):
            for domain in sorted(set(repo.domains) - set(name.split("/"))):
                if re.search(rf"(?<![a-z0-9]){domain}(?![a-z0-9])", text):
                    yield f"{name}: {domain}"


def _sources_read(sql: str) -> set[str]:
    return {".".join(pair) for pair in re.findall(r"source\(\s*'(\w+)'\s*,\s*'(\w+)'\s*\)", sql)}


def _models_read(sql: str) -> set[str]:
    return set(re.findall(r"ref\(\s*'(\w+)'\s*\)", sql))


def links_that_lead_nowhere(repo: Repository) -> Offenders:
    for name, text in repo.texts():
        for target in re.findall(r"\]\(([^)#:\s]+)[^):]*\)", text) if name.endswith(".md") else ():
            if not ((repo.root / name).parent / target).exists():
                yield f"{name}: {target}"


def places_that_only_one_machine_has(repo: Repository) -> Offenders:
    for name, text in repo.texts():
        for number, line in enumerate(text.splitlines(), start=1):
            if FOREIGN.search(line):
                yield f"{name}:{number}: {line.strip()[:80]}"


RULES: list[Callable[[Repository], Offenders]] = [
    names_as_literals,
    python_among_declarations,
    dagster_outside_defs,
    vague_module_names,
    banned_names,
    crowded_folders,
    verbs_without_a_module,
    code_in_init_files,
    sources_without_a_staging_model,
    sources_without_a_sample,
    staging_models_that_read_more_than_one_thing,
    staging_models_that_read_another_source,
    raw_tables_read_beyond_staging,
    models_read_across_domains,
    domains_named_outside_their_folders,
    links_that_lead_nowhere,
    places_that_only_one_machine_has,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_has_no(rule: Callable[[Repository], Offenders], repo_root: Path) -> None:
    assert list(rule(Repository(repo_root))) == []


@pytest.fixture
def small(tmp_path: Path) -> Repository:
    """A repository that keeps every rule: one domain, plants, with one source, trees."""
    files = {
        "README.md": "see [docs](docs)\n",
        "docs/b.txt": "",
        "etl_assets/__init__.py": '"""A package."""\n',
        "etl_assets/tables/readers/osv.py": '"""Reads osv."""\nNAME = "osv"\n',
        "etl_assets/domains/plants/_domain.yaml": (
            "title: Plants\ndescription: d\nowner: team:garden\nschedule: 0 5 * * *\n"
        ),
        "etl_assets/domains/plants/trees.yaml": (
            "title: Trees\ndescription: d\nproducer: p\nlicence: {name: n, attribution: a}\n"
            "location: {url: https://garden.example/trees.json}\nrequired: true\n"
            "freshness: {warn_after_hours: 1, fail_after_hours: 2}\nformat: {name: json}\n"
            "contract: {columns: [{name: a, type: string, description: d}], key: [a]}\n"
        ),
        "dbt_project/models/plants/staging/stg_plants__trees.sql": (
            "select * from {{ source('plants', 'trees') }}\n"
        ),
        "dbt_project/models/plants/marts/mart_tree.sql": (
            "select * from {{ ref('stg_plants__trees') }}\n"
        ),
        "samples/plants/upstream/garden.example/trees.json": "[]\n",
    }
    for name, text in files.items():
        _write(tmp_path / name, text)
    return Repository(tmp_path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_sound_repository_passes(
    rule: Callable[[Repository], Offenders], small: Repository
) -> None:
    assert list(rule(small)) == []


STAGING = "dbt_project/models/plants/staging/stg_plants__trees.sql"
MART = "dbt_project/models/plants/marts/mart_tree.sql"


@pytest.mark.parametrize(
    ("rule", "file", "text", "offender"),
    [
        pytest.param(
            names_as_literals,
            "etl_assets/fetch/a.py",
            "def f():\n    return 'trees'\n",
            "fetch/a.py:2: trees",
            id="source as literal",
        ),
        pytest.param(
            names_as_literals,
            "etl_assets/fetch/a.py",
            "P = f'outputs/plants/{1}'\n",
            "fetch/a.py:1: plants",
            id="domain in a path",
        ),
        pytest.param(
            names_as_literals,
            "etl_assets/storage/a.py",
            "Q = 'select * from stg_plants__x'\n",
            "storage/a.py:1: plants",
            id="domain in a query",
        ),
        pytest.param(
            python_among_declarations,
            "etl_assets/domains/plants/a.py",
            "",
            "domains/plants/a.py",
            id="Python among declarations",
        ),
        pytest.param(
            dagster_outside_defs,
            "etl_assets/fetch/a.py",
            "def f():\n    from dagster_dbt import x\n",
            "fetch/a.py:2",
            id="late import of Dagster",
        ),
        pytest.param(
            vague_module_names,
            "etl_assets/storage/utils.py",
            "",
            "storage/utils.py",
            id="vague name",
        ),
        pytest.param(
            code_in_init_files,
            "etl_assets/storage/__init__.py",
            '"""A package."""\nimport os\n',
            "storage/__init__.py",
            id="code in init",
        ),
        pytest.param(
            code_in_init_files,
            "etl_assets/storage/__init__.py",
            "",
            "storage/__init__.py",
            id="bare init",
        ),
        pytest.param(
            staging_models_that_read_more_than_one_thing,
            STAGING,
            "{{ source('plants', 'trees') }} {{ ref('x') }}",
            "stg_plants__trees: ['plants.trees', 'x']",
            id="join in staging",
        ),
        pytest.param(
            staging_models_that_read_another_source,
            STAGING,
            "{{ source('plants', 'weeds') }}",
            "stg_plants__trees: ['plants.weeds']",
            id="staging of another source",
        ),
        pytest.param(
            raw_tables_read_beyond_staging,
            MART,
            "{{ source('plants', 'trees') }}",
            "mart_tree: plants.trees",
            id="raw table in a mart",
        ),
        pytest.param(
            models_read_across_domains,
            "dbt_project/models/zoo/marts/mart_ape.sql",
            "{{ ref('mart_tree') }}",
            "mart_ape: mart_tree",
            id="mart of another domain",
        ),
        pytest.param(
            domains_named_outside_their_folders,
            "dbt_project/macros/a.sql",
            "select * from stg_plants__trees",
            "dbt_project/macros/a.sql: plants",
            id="domain in a shared macro",
        ),
        pytest.param(
            links_that_lead_nowhere,
            "docs/a.md",
            "see [b](b.md), [c](../README.md#c) and [d](https://garden.example/d)",
            "docs/a.md: b.md",
            id="dead link",
        ),
        pytest.param(
            places_that_only_one_machine_has,
            "docs/a.md",
            f"see {'/'}root/a",
            f"docs/a.md:1: see {'/'}root/a",
            id="path of a machine",
        ),
        pytest.param(
            places_that_only_one_machine_has,
            "README.md",
            f"from pypi{'.'}org",
            f"README.md:1: from pypi{'.'}org",
            id="host of an index",
        ),
    ],
)
def test_a_planted_offence_is_found(
    rule: Callable[[Repository], Offenders], file: str, text: str, offender: str, small: Repository
) -> None:
    _write(small.root / file, text)

    assert list(rule(small)) == [offender]


@pytest.mark.parametrize(
    ("rule", "removed"),
    [
        pytest.param(sources_without_a_staging_model, STAGING, id="staging model"),
        pytest.param(
            sources_without_a_sample,
            "samples/plants/upstream/garden.example/trees.json",
            id="sample",
        ),
    ],
)
def test_what_a_source_lacks_is_found(
    rule: Callable[[Repository], Offenders], removed: str, small: Repository
) -> None:
    (small.root / removed).unlink()

    assert [offender.split(":")[0] for offender in rule(small)] == ["plants.trees"]


def test_a_crowded_folder_is_found(small: Repository) -> None:
    for number in range(21):
        _write(small.root / f"etl_assets/fetch/a{number}.py", "")

    assert list(crowded_folders(small)) == ["fetch: 21 modules"]


def test_every_rule_of_this_file_is_asked() -> None:
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    written = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and ast.unparse(node.returns or ast.Constant(None)) == "Offenders"
    }

    assert written == {rule.__name__ for rule in RULES}
