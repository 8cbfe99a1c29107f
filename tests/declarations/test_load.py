from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from etl_assets.declarations.load import load, load_each
from etl_assets.model.errors import DeclarationError, HomeError

DOMAIN = """\
title: Plants
description: What grows where.
owner: team:garden
schedule: 0 5 * * *
"""

SOURCE = """\
# a comment first, so that the first key is not on the first line
title: Trees
description: One row per tree.
producer: The gardeners
licence:
  name: CC0-1.0
  attribution: The gardeners
location:
  url: https://garden.example/trees.json
required: true
freshness:
  warn_after_hours: 24
  fail_after_hours: 72
  content_column: planted_at
format:
  name: json
  rows: "{tree_id}"
contract:
  columns:
    - name: tree_id
      type: string
      description: the tree's number
      pattern: T\\d+
    - name: planted_at
      type: timestamp
      description: when it was planted
    - name: height_m
      type: float64
      description: height of the tree
      unit: m
      minimum: 0
      maximum: 120
  key: [tree_id]
  rules:
    - name: tall_trees_have_a_date
      when: {tree_id: T1}
      require: [planted_at]
"""


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    """A folder with one valid domain of one valid source, plants.trees."""
    folder = tmp_path / "domains" / "plants"
    folder.mkdir(parents=True)
    (folder / "_domain.yaml").write_text(DOMAIN, encoding="utf-8")
    (folder / "trees.yaml").write_text(SOURCE, encoding="utf-8")
    return folder.parent


def faults(root: Path) -> list[str]:
    """The problems that loading reports, with paths from the folder of the domain."""
    with pytest.raises(DeclarationError) as raised:
        load(root)
    return [str(problem).removeprefix(f"{root}/plants/") for problem in raised.value.problems]


def change(root: Path, old: str, new: str, file: str = "trees.yaml") -> None:
    path = root / "plants" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_names_come_from_the_folder_and_the_file(domains: Path) -> None:
    plants = load(domains)["plants"]

    assert plants.name == "plants"
    assert str(plants.sources["trees"].full_name) == "plants.trees"


def test_the_declarations_of_the_project_are_valid(repo_root: Path) -> None:
    loaded = load(repo_root / "etl_assets" / "domains")

    assert all(domain.sources for domain in loaded.values())


def test_the_sources_of_the_project_declare_the_shape_of_their_answers(repo_root: Path) -> None:
    loaded = load(repo_root / "etl_assets" / "domains")

    requests = [source for domain in loaded.values() for source in domain.sources.values()]
    shapes = {s.name: s.for_each.shape for s in requests if s.for_each}
    assert shapes
    assert [name for name, shape in shapes.items() if not (shape and shape.required)] == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        pytest.param(
            "licence:",
            "licens:",
            "trees.yaml:5: licens: expected one of title, description, producer, licence, "
            "location, partitions, for_each, required, enabled, expect, limits, freshness, "
            "format, contract, perhaps 'licence', found an unknown key",
            id="misspelt key",
        ),
        pytest.param(
            "      unit: m",
            "      units: m",
            "trees.yaml:30: contract.columns[2].units: expected one of name, type, description, "
            "unit, from, required, optional, trim, merged, faulty_cells, invalid_values, "
            "version_scheme, case, pattern, values, known_values, minimum, maximum, perhaps "
            "'unit', found an unknown key",
            id="misspelt key in a list",
        ),
        pytest.param(
            "  rows:",
            "  rowz:",
            "trees.yaml:17: format.rowz: expected one of name, rows, perhaps 'rows', "
            "found an unknown key",
            id="misspelt key in a union",
        ),
        pytest.param(
            "required: true",
            "required: 'yes'",
            "trees.yaml:10: required: expected true or false, found 'yes'",
            id="wrong type",
        ),
        pytest.param(
            "  warn_after_hours: 24",
            "  warn_after_hours: a day",
            "trees.yaml:12: freshness.warn_after_hours: expected a number, found 'a day'",
            id="text for a number",
        ),
        pytest.param(
            "  warn_after_hours: 24",
            "  warn_after_hours: .inf",
            "trees.yaml:12: freshness.warn_after_hours: expected a finite number, found inf",
            id="no finite number",
        ),
        pytest.param(
            "  key: [tree_id]",
            "  key: tree_id",
            "trees.yaml:33: contract.key: expected a list, found 'tree_id'",
            id="text for a list",
        ),
        pytest.param(
            "producer: The gardeners\n",
            "",
            "trees.yaml:2: producer: expected a value, found nothing",
            id="missing field",
        ),
        pytest.param(
            "  attribution: The gardeners\n",
            "",
            "trees.yaml:5: licence.attribution: expected a value, found nothing",
            id="missing field of a mapping",
        ),
        pytest.param(
            "title: Trees",
            "title:",
            "trees.yaml:2: title: expected text, found nothing",
            id="empty field",
        ),
        pytest.param(
            "type: float64",
            "type: flot64",
            "trees.yaml:28: contract.columns[2].type: expected 'string', 'int64', 'uint64', "
            "'float64', 'boolean', 'date', 'timestamp' or 'list[string]', perhaps 'float64', "
            "found 'flot64'",
            id="unknown word",
        ),
        pytest.param(
            "required: true",
            "partitions:\n  by: file\nrequired: true",
            "trees.yaml:9: location.url: expected a path, because the files are listed from "
            "a folder, found a URL",
            id="a set of files behind a URL",
        ),
        pytest.param(
            "  name: json",
            "  name: jsn",
            "trees.yaml:16: format.name: expected one of 'json', 'json_array', 'csv', 'excel', "
            "'geojson', 'osv', 'cve_2_0', 'deb822', perhaps 'json', found 'jsn'",
            id="unknown format",
        ),
        pytest.param(
            "  name: json\n",
            "",
            "trees.yaml:15: format.name: expected a value, found nothing",
            id="missing format",
        ),
        pytest.param(
            "      unit: m\n",
            "",
            "trees.yaml:27: contract.columns[2]: expected a unit for a number ('1' if "
            "dimensionless), found none",
            id="number without unit",
        ),
        pytest.param(
            "required: true",
            "required: true\nname: oaks",
            "trees.yaml:11: name: expected no such key, as the folder and file name imply it, "
            "found 'oaks'",
            id="a name, which the file name implies",
        ),
    ],
)
def test_a_fault_is_reported_with_line_field_expected_and_found(
    domains: Path, old: str, new: str, fault: str
) -> None:
    change(domains, old, new)

    assert fault in faults(domains)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        pytest.param(
            "key: [tree_id]",
            "key: [tree]",
            "trees.yaml:33: contract.key[0]: expected a column of the contract, perhaps 'tree_id', "
            "found 'tree'",
            id="key",
        ),
        pytest.param(
            "when: {tree_id: T1}",
            "when: {oak: T1}",
            "trees.yaml:36: contract.rules[0].when.oak: expected a column of the contract, "
            "found 'oak'",
            id="condition of a rule",
        ),
        pytest.param(
            "require: [planted_at]",
            "require: [planted]",
            "trees.yaml:37: contract.rules[0].require[0]: expected a column of the contract, "
            "perhaps 'planted_at', found 'planted'",
            id="demand of a rule",
        ),
        pytest.param(
            "content_column: planted_at",
            "content_column: planted",
            "trees.yaml:14: freshness.content_column: expected a column of the contract, perhaps "
            "'planted_at', found 'planted'",
            id="content column",
        ),
        pytest.param(
            "content_column: planted_at",
            "content_column: height_m",
            "trees.yaml:14: freshness.content_column: expected a column of type date or timestamp, "
            "found float64 'height_m'",
            id="content column without a date",
        ),
        pytest.param(
            'rows: "{tree_id}"',
            'rows: "{tree}"',
            "trees.yaml:17: format.rows: expected a column of the contract, perhaps 'tree_id', "
            "found 'tree'",
            id="path to the rows",
        ),
        pytest.param(
            "- name: height_m",
            "- name: tree_id",
            "trees.yaml:27: contract.columns[2].name: expected each name once, "
            "found 'tree_id' a second time",
            id="column declared twice",
        ),
        pytest.param(
            "pattern: T\\d+",
            "pattern: (T",
            "trees.yaml:23: contract.columns[0].pattern: expected a regular expression, found '(T' "
            "(missing ), unterminated subpattern at position 0)",
            id="pattern",
        ),
        pytest.param(
            "type: string",
            "type: boolean",
            "trees.yaml:23: contract.columns[0].pattern: expected pattern only on columns of type "
            "string, list[string], found it on a column of type boolean",
            id="pattern of a boolean",
        ),
        pytest.param(
            "minimum: 0",
            "minimum: 121",
            "trees.yaml:31: contract.columns[2].minimum: expected no more than the maximum, 120, "
            "found 121",
            id="minimum above maximum",
        ),
        pytest.param(
            "minimum: 0",
            "merged: fill",
            "trees.yaml:31: contract.columns[2].merged: expected merged only in a source of the "
            "format excel, found it in one of the format json",
            id="merged cells without cells",
        ),
        pytest.param(
            "minimum: 0",
            "faulty_cells: discard_value",
            "trees.yaml:31: contract.columns[2].faulty_cells: expected faulty_cells only in a "
            "source of the format excel, found it in one of the format json",
            id="faulty cells without cells",
        ),
        pytest.param(
            "trees.json",
            "trees-{partition}.json",
            "trees.yaml:9: location.url: expected no {partition}, as no partitions are declared, "
            "found 'https://garden.example/trees-{partition}.json'",
            id="placeholder without partitions",
        ),
        pytest.param(
            "required: true",
            "partitions:\n  by: year\n  start: 2002\nrequired: true",
            "trees.yaml:9: location.url: expected {partition} in it, as partitions are declared, "
            "found 'https://garden.example/trees.json'",
            id="partitions without placeholder",
        ),
        pytest.param(
            "trees.json",
            "{year}.json",
            "trees.yaml:9: location.url: expected no placeholder except {partition}, found {year}",
            id="unknown placeholder",
        ),
        pytest.param(
            "https://garden.example",
            "file:///etc",
            "trees.yaml:9: location.url: expected a URL, http://host/... or https://host/..., "
            "found 'file:///etc/trees.json'",
            id="scheme",
        ),
        pytest.param(
            "https://garden.example/",
            "https://[garden/",
            "trees.yaml:9: location.url: expected a URL, http://host/... or https://host/..., "
            "found 'https://[garden/trees.json'",
            id="malformed URL",
        ),
        pytest.param(
            "https://garden",
            "https://me:pass@garden",
            "trees.yaml:9: location.url: expected a URL without credentials; name an "
            "environment variable instead, found credentials in it",
            id="credentials",
        ),
        pytest.param(
            "url: https://garden.example/trees.json",
            "path: ../trees.json",
            "trees.yaml:9: location.path: expected a relative path inside the folder, "
            "found '../trees.json'",
            id="path that leaves",
        ),
        pytest.param(
            "url: https://garden.example/trees.json",
            "path: trees.json\n  address_from: {url: https://garden.example/w, member: data.url}",
            "trees.yaml:10: location.address_from: expected a url too, as the file's name, "
            "found none",
            id="address of a path",
        ),
        pytest.param(
            "url: https://garden.example/trees.json",
            "url: https://garden.example/trees.json\n  address_from: {url: where, member: url}",
            "trees.yaml:10: location.address_from.url: expected a URL, http://host/... or "
            "https://host/..., found 'where'",
            id="address from no URL",
        ),
        pytest.param(
            "url: https://garden.example/trees.json",
            "url: https://garden.example/trees.json\n  told_by: {url: where, member: data.url}",
            "trees.yaml:10: location.told_by: expected address_from, the new name of this key, "
            "found told_by",
            id="renamed key",
        ),
        pytest.param(
            "required: true",
            "required: true\nrequired: false",
            "trees.yaml:10: required: expected each key once, found it again in line 11",
            id="duplicate key",
        ),
        pytest.param(
            "url: https",
            "path: trees.json\n  url: https",
            "trees.yaml:8: location: expected either url or path, found both",
            id="two locations",
        ),
        pytest.param(
            "warn_after_hours: 24",
            "warn_after_hours: 96",
            "trees.yaml:11: freshness: expected warn_after_hours not to exceed fail_after_hours, "
            "found 96 and 72",
            id="warns after it fails",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_one_fault(
    domains: Path, old: str, new: str, fault: str
) -> None:
    change(domains, old, new)

    assert faults(domains) == [fault]


@pytest.mark.parametrize(
    ("old", "place"),
    [
        ("      pattern: T\\d+\n", "trees.yaml:23: contract.columns[0]"),
        ("      minimum: 0\n", "trees.yaml:32: contract.columns[2]"),
    ],
    ids=["in the key", "required"],
)
@pytest.mark.parametrize("name", ["faulty_cells", "invalid_values"])
def test_an_error_may_not_make_a_needed_value_null(
    domains: Path, old: str, place: str, name: str
) -> None:
    change(domains, '  name: json\n  rows: "{tree_id}"', "  name: excel\n  sheet: Trees")
    is_required = "minimum" in old
    option = f"      {name}: discard_value\n"
    change(domains, old, f"      required: true\n{option}" if is_required else option)

    [fault] = faults(domains)
    expected = "expected discard_row, because the column is required or part of the key"
    assert fault == f"{place}.{name}: {expected}, found 'discard_value'"


REQUESTS = """required: true
for_each:
  table: plots
  columns: [tree_id]
"""
PAGES = REQUESTS + "  pages: {{items: '{items}', {members}}}\n"


@pytest.mark.parametrize(
    ("new", "fault"),
    [
        pytest.param(
            REQUESTS + "  shape: {required: ['results[']}\n",
            "for_each.shape.required[0]: expected ",
            id="half a bracket",
        ),
        pytest.param(
            REQUESTS + "  shape: {errors: ['']}\n",
            "for_each.shape.errors[0]: expected ",
            id="empty path",
        ),
        pytest.param(
            REQUESTS + "  shape: {require: [results]}\n",
            "for_each.shape.require: expected one of required, errors, values, busy, perhaps"
            " 'required', found an unknown key",
            id="misspelt key",
        ),
        pytest.param(
            PAGES.format(items="results[]", members="by: number, total_pages: n"),
            "for_each.pages: expected a parameter with by: number, found none",
            id="no parameter",
        ),
        pytest.param(
            PAGES.format(items="results[]", members="by: link, parameter: p"),
            "for_each.pages: expected no parameter with by: link, found 'p'",
            id="needless parameter",
        ),
        pytest.param(
            PAGES.format(items="results[]", members="by: offset, parameter: p"),
            "for_each.pages: expected total_pages, total_items or has_more with by: offset,"
            " found none",
            id="no total",
        ),
        pytest.param(
            PAGES.format(items="results[]", members="by: cursor, parameter: p"),
            "for_each.pages: expected next, a path to the cursor, with by: cursor, found none",
            id="no cursor",
        ),
        pytest.param(
            PAGES.format(items="results[]", members="by: link, total_items: n"),
            "for_each.pages: expected no total_items with by: link, found it",
            id="another kind",
        ),
        pytest.param(
            PAGES.format(items="results", members="by: link"),
            "for_each.pages.items: expected ",
            id="no list",
        ),
        pytest.param(
            PAGES.format(items="results[]", members="by: letter"),
            "for_each.pages.by: expected ",
            id="unknown kind",
        ),
        pytest.param(
            PAGES.format(items="results[]", members="by: link")
            + "  chat: {model: m, system: s, prompt: p, answer: {}}\n",
            "for_each.pages: expected none, because a chat has one answer, found pages",
            id="pages of a chat",
        ),
    ],
)
def test_answers_are_declared_without_contradiction(domains: Path, new: str, fault: str) -> None:
    change(domains, "required: true\n", new)

    assert fault in "".join(faults(domains))


COVERAGE = """coverage:
  - from: mart_trees
    key: tree_id
    column: height_m
    source: trees
    warn: 0.7
    floor: 0.1
"""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        pytest.param(
            "floor: 0.1",
            "floor: 0.8",
            "_domain.yaml:6: coverage[0]: expected floor not to exceed warn, found 0.8 and 0.7",
            id="refuses before it warns",
        ),
        pytest.param(
            "source: trees",
            "source: tree",
            "_domain.yaml:9: coverage[0].source: expected a source of the domain, perhaps"
            " 'trees', found 'tree'",
            id="unknown source",
        ),
        pytest.param(
            COVERAGE,
            COVERAGE + COVERAGE.removeprefix("coverage:\n"),
            "_domain.yaml:14: coverage[1].column: expected each column once, found 'height_m' of"
            " 'mart_trees' a second time",
            id="twice",
        ),
    ],
)
def test_a_coverage_is_declared_without_contradiction(
    domains: Path, old: str, new: str, fault: str
) -> None:
    change(domains, "schedule: 0 5 * * *\n", f"schedule: 0 5 * * *\n{COVERAGE}", "_domain.yaml")
    change(domains, old, new, "_domain.yaml")

    assert faults(domains) == [fault]


def test_a_credential_needs_https(domains: Path) -> None:
    change(
        domains,
        "location:",
        "location:\n  credentials: {X-Key: {env: FEED_KEY}}",
    )
    change(domains, "url: https://", "url: http://")

    assert "expected https, because credentials are sent" in "".join(faults(domains))


@pytest.mark.fault("templates")
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("", "document: expected a mapping, found nothing", id="empty"),
        pytest.param("- a", "document: expected a mapping, found a list", id="list"),
        pytest.param("a: &x 1", "document: expected no anchor, found &x", id="anchor"),
        pytest.param("a: *x", "document: expected no alias, found *x", id="alias"),
        pytest.param(
            "a: !!python/object:os.system {}",
            "document: expected no tag, found tag:yaml.org,2002:python/object:os.system",
            id="tag",
        ),
        pytest.param(
            "a: {b: 1]",
            "document: expected well-formed YAML, found an error: did not find expected ',' or '}'",
            id="syntax",
        ),
        pytest.param("[" * 30, "document: expected at most 20 levels, found more", id="depth"),
        pytest.param(
            f"title: {'9' * 5000}",
            f"title: expected a plain value, found '{'9' * 60}'",
            id="endless number",
        ),
        pytest.param("<<: {a: 1}", "document: expected a plain key, found '<<'", id="merge key"),
    ],
)
def test_yaml_beyond_plain_data_is_refused(domains: Path, text: str, fault: str) -> None:
    (domains / "plants" / "trees.yaml").write_text(text, encoding="utf-8")

    assert f"trees.yaml:1: {fault}" in faults(domains)


@pytest.mark.fault("templates")
@pytest.mark.parametrize(
    ("old", "new", "file", "fault"),
    [
        pytest.param(
            "title: ", "title: '{{ env_var(\"HOME\") }}' #", "trees.yaml",
            "trees.yaml:2: title: expected plain text without template markers, found {{",
            id="expression",
        ),
        pytest.param(
            "description: ", "description: '{% set x = 1 %}' #", "_domain.yaml",
            "_domain.yaml:2: description: expected plain text without template markers, found {%",
            id="statement",
        ),
    ],
)  # fmt: skip
def test_a_template_in_a_declaration_is_refused(
    domains: Path, old: str, new: str, file: str, fault: str
) -> None:
    change(domains, old, new, file)

    assert fault in faults(domains)


def test_text_that_is_not_utf8_is_refused(domains: Path) -> None:
    (domains / "plants" / "trees.yaml").write_bytes("title: Bäume".encode("latin-1"))

    assert faults(domains)[0].startswith("trees.yaml:1: document: expected UTF-8 text, found ")


def test_the_problems_of_all_files_come_at_once_and_in_the_order_of_their_lines(
    domains: Path,
) -> None:
    change(domains, "owner: team:garden\n", "", file="_domain.yaml")
    change(domains, "title: Trees", "titel: Trees")
    change(domains, "key: [tree_id]", "key: [oak]")
    change(domains, "type: float64", "type: float")
    (domains / "plants" / "weeds.yaml").write_text("a: {b: 1]", encoding="utf-8")

    assert [fault.split(": expected")[0] for fault in faults(domains)] == [
        "trees.yaml:2: title",
        "trees.yaml:2: titel",
        "trees.yaml:28: contract.columns[2].type",
        "trees.yaml:33: contract.key[0]",
        "weeds.yaml:1: document",
        "_domain.yaml:1: owner",
    ]


@pytest.mark.parametrize(
    ("added", "fault"),
    [
        pytest.param(
            "documents:\n  - {file: ../a.json, title: A, format: f, from: m}",
            "_domain.yaml:6: documents[0].file: expected a path inside the run's folder, "
            "found '../a.json'",
            id="document outside the run",
        ),
        pytest.param(
            "gate:\n"
            "  - {from: m, key: [a], max_vanished_pct: 1}\n"
            "  - {from: m, key: [a], max_vanished_pct: 2}",
            "_domain.yaml:7: gate[1].from: expected each name once, found 'm' a second time",
            id="one model for two checks of the gate",
        ),
        pytest.param(
            "gate:\n"
            "  - from: m\n"
            "    key: [a]\n"
            "    max_vanished_pct: 1\n"
            "    states: {column: s, affected: [a, b], silent: [b, c], max_silenced_pct: 1,"
            " max_flipped_pct: 1}",
            "_domain.yaml:9: gate[0].states: expected no state to be both affected and silent, "
            "found b",
            id="a state that is affected and silent",
        ),
        pytest.param(
            "vars:\n  depth: {a: 1}",
            "_domain.yaml:6: vars.depth: expected text or a whole number or a number or a list, "
            "found a mapping",
            id="variable of no known type",
        ),
        pytest.param(
            "sources: {}",
            "_domain.yaml:5: sources: expected no such key, as the folder and file name imply it, "
            "found an empty mapping",
            id="sources, which the files imply",
        ),
    ],
)
def test_a_domain_is_checked_as_its_sources_are(domains: Path, added: str, fault: str) -> None:
    change(domains, "schedule: 0 5 * * *\n", f"schedule: 0 5 * * *\n{added}\n", "_domain.yaml")

    assert faults(domains) == [fault]


def test_a_schedule_has_five_fields(domains: Path) -> None:
    change(domains, "0 5 * * *", "daily", "_domain.yaml")

    assert faults(domains) == [
        "_domain.yaml:4: schedule: expected a cron line of 5 fields, found 'daily'"
    ]


@pytest.mark.parametrize(
    "schedule",
    [
        "*/15 0-6 1,15 * *", "00 05 * * 7", "5/20 0-23/2 31 jan-mar MON,Fri", "59 23 1-31 12 sun",
        "0 0 * * 1-5",
    ],
)  # fmt: skip
def test_a_schedule_may_have_everything_that_cron_has(domains: Path, schedule: str) -> None:
    change(domains, "0 5 * * *", f"'{schedule}'", "_domain.yaml")

    assert load(domains)["plants"].schedule == schedule


@pytest.mark.parametrize(
    ("schedule", "fault"),
    [
        ("60 5 * * *", "minute as cron writes it, from 0 to 59, found '60'"),
        ("0 24 * * *", "hour as cron writes it, from 0 to 23, found '24'"),
        ("0 5 0 * *", "day of month as cron writes it, from 1 to 31, found '0'"),
        ("0 5 * 1,13 *", "month as cron writes it, from 1 to 12, found '13'"),
        ("0 5 * * 1-8", "day of week as cron writes it, from 0 to 7, found '1-8'"),
        ("0 5 * * jan", "day of week as cron writes it, from 0 to 7, found 'jan'"),
        ("*/0 5 * * *", "minute as cron writes it, from 0 to 59, found '*/0'"),
        ("0 5, * * *", "hour as cron writes it, from 0 to 23, found ''"),
        ("-1 5 * * *", "minute as cron writes it, from 0 to 59, found '-1'"),
        ("0 \u0665 * * *", "hour as cron writes it, from 0 to 23, found '\u0665'"),
    ],
)
def test_a_field_of_a_schedule_that_cron_does_not_know_is_a_fault(
    domains: Path, schedule: str, fault: str
) -> None:
    change(domains, "schedule: 0 5 * * *", f"schedule: '{schedule}'", "_domain.yaml")

    assert faults(domains) == [f"_domain.yaml:4: schedule: expected a {fault}"]


def test_a_domain_without_sources_is_a_fault(domains: Path) -> None:
    (domains / "plants" / "trees.yaml").unlink()

    assert faults(domains) == [
        "_domain.yaml:1: document: expected at least one source in the same folder, found none"
    ]


def test_a_folder_without_a_domain_file_is_a_fault(domains: Path) -> None:
    (domains / "plants" / "_domain.yaml").unlink()

    assert faults(domains) == [
        "_domain.yaml:1: document: expected a file that describes the domain, found none"
    ]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param("oak-trees.yaml", "expected a name of lower-case letters", id="name"),
        pytest.param("oaks.yml", "expected the ending .yaml, found .yml", id="ending"),
    ],
)
def test_a_file_name_that_is_no_source_name_is_a_fault(
    domains: Path, name: str, fault: str
) -> None:
    (domains / "plants" / "trees.yaml").rename(domains / "plants" / name)

    assert faults(domains)[0].startswith(f"{name}:1: document: {fault}")


def test_hidden_and_other_files_are_ignored(domains: Path) -> None:
    (domains / "plants" / ".trees.yaml.swp").write_text("a: [", encoding="utf-8")
    (domains / "plants" / "notes.txt").write_text("water them", encoding="utf-8")

    assert list(load(domains)["plants"].sources) == ["trees"]


def test_a_missing_or_empty_root_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="expected a folder of declarations"):
        load(tmp_path / "nowhere")

    with pytest.raises(DeclarationError, match="expected a folder for each domain, found none"):
        load(tmp_path)


def test_a_root_that_cannot_be_read_is_a_home_error(tmp_path: Path) -> None:
    (tmp_path / "domains").write_text("a file", encoding="utf-8")

    with pytest.raises(HomeError, match="domains: expected a readable folder, found Not a dir"):
        load(tmp_path / "domains")


def test_loading_all_declarations_costs_little(repo_root: Path) -> None:
    program = (
        "import time; from pathlib import Path; from etl_assets.declarations.load import load; "
        f"root = Path({str(repo_root / 'etl_assets' / 'domains')!r}); "
        "load(root); times = [time.process_time()]; "
        "[(load(root), times.append(time.process_time())) for _ in range(15)]; "
        "print(min(after - before for before, after in zip(times, times[1:])))"
    )

    process = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)

    assert float(process.stdout) < 0.05


def test_loading_does_not_import_dagster(repo_root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from etl_assets.declarations.load import load; "
        f"load(Path({str(repo_root / 'etl_assets' / 'domains')!r})); "
        "sys.exit('dagster' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@given(text=st.text(max_size=200) | PLAIN.map(str) | st.binary(max_size=200))
def test_any_text_loads_or_is_a_declaration_error(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    folder = tmp_path_factory.mktemp("domains") / "plants"
    folder.mkdir()
    (folder / "_domain.yaml").write_text(DOMAIN, encoding="utf-8")
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    (folder / "trees.yaml").write_bytes(raw)

    with pytest.raises(DeclarationError):
        load(folder.parent)


@given(
    field=st.sampled_from(["licence", "location", "freshness", "format", "contract"]), value=PLAIN
)
def test_any_value_of_a_field_loads_or_is_a_declaration_error(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: object
) -> None:
    folder = tmp_path_factory.mktemp("domains") / "plants"
    folder.mkdir()
    (folder / "_domain.yaml").write_text(DOMAIN, encoding="utf-8")
    before, _, after = SOURCE.partition(f"{field}:\n")
    others = "\n".join(line for line in after.splitlines() if not line.startswith(" "))
    written = f"{before}{field}: {yaml.safe_dump(value, default_flow_style=True)}\n{others}"
    (folder / "trees.yaml").write_text(written, encoding="utf-8")

    with pytest.raises(DeclarationError):
        load(folder.parent)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        pytest.param(
            "  key: [tree_id]",
            "  key: [tree_id]\n  duplicates: keep_newest",
            "trees.yaml:34: contract.duplicates: expected newest_by with keep_newest, found none",
            id="newest by nothing",
        ),
        pytest.param(
            "  key: [tree_id]",
            "  key: [tree_id]\n  newest_by: planted_at",
            "trees.yaml:34: contract.newest_by: expected newest_by only with duplicates: "
            "keep_newest, found 'planted_at'",
            id="newest without its rule",
        ),
        pytest.param(
            "  key: [tree_id]",
            "  key: [tree_id]\n  duplicates: keep_newest\n  newest_by: planted",
            "trees.yaml:35: contract.newest_by: expected a column of the contract, perhaps "
            "'planted_at', found 'planted'",
            id="newest by no column",
        ),
        pytest.param(
            "required: true",
            "required: true\nenabled: false",
            "trees.yaml:11: enabled: expected true, because the source is required, found false",
            id="required and disabled",
        ),
        pytest.param(
            "      minimum: 0\n",
            "      known_values: [a]\n",
            "trees.yaml:31: contract.columns[2].known_values: expected known_values only on "
            "columns of type string, list[string], found it on a column of type float64",
            id="known values of a number",
        ),
        pytest.param(
            "      description: when it was planted",
            '      description: when it was planted\n      from: "[].planted"',
            "trees.yaml:27: contract.columns[1].from: expected a field of a record on the path "
            "{tree_id}, found '[].planted'",
            id="from a record that is not passed",
        ),
        pytest.param(
            "      description: when it was planted",
            "      description: when it was planted\n      from: plan{ted",
            "trees.yaml:27: contract.columns[1].from: expected a field of a record on the path "
            "{tree_id}, found 'plan{ted'",
            id="from a name with a bracket",
        ),
        pytest.param(
            '  name: json\n  rows: "{tree_id}"',
            '  name: json_array\n  rows: ["[]", "{tree_id}"]',
            "trees.yaml:17: format.rows: expected a path that begins with [], found '{tree_id}'",
            id="a list that begins as a map",
        ),
    ],
)
def test_a_field_that_contradicts_another_is_a_fault(
    domains: Path, old: str, new: str, fault: str
) -> None:
    change(domains, old, new)

    assert any(each.startswith(fault) for each in faults(domains)), faults(domains)


def test_a_disabled_source_is_not_among_the_sources(domains: Path) -> None:
    change(domains, "required: true", "required: false\nenabled: false")

    plants = load(domains)["plants"]

    assert (list(plants.sources), list(plants.disabled_sources)) == ([], ["trees"])


YEARLY = SOURCE.replace("trees.json", "{partition}.json") + "partitions: {by: year, start: 2002}\n"


@pytest.mark.parametrize(
    ("second", "scheme"),
    [
        pytest.param(
            YEARLY.replace("url: https://garden.example/", "path: trees/").replace(
                "{by: year, start: 2002}", "{by: file}"
            ),
            "by file",
            id="years and files",
        ),
        pytest.param(YEARLY.replace("2002", "2010"), "by year from 2010", id="two first years"),
    ],
)
def test_two_kinds_of_partitions_in_one_domain_are_refused_with_their_line(
    tmp_path: Path, second: str, scheme: str
) -> None:
    folder = tmp_path / "plants"
    folder.mkdir()
    (folder / "_domain.yaml").write_text(DOMAIN)
    (folder / "elms.yaml").write_text(YEARLY)
    (folder / "oaks.yaml").write_text(second)
    line = second.splitlines().index(next(x for x in second.splitlines() if "partitions:" in x)) + 1

    with pytest.raises(DeclarationError) as error:
        load(tmp_path)

    assert (
        f"oaks.yaml:{line}: partitions: expected by year from 2002, as elms is partitioned: "
        in (str(error.value))
    )
    assert str(error.value).endswith(f"a run carries one kind only, found {scheme}")


@pytest.mark.parametrize("port", ["99999", "0", "-1", "http"])
def test_a_port_that_no_host_can_have_is_a_fault(domains: Path, port: str) -> None:
    change(domains, "garden.example/", f"garden.example:{port}/")

    expected = "trees.yaml:9: location.url: expected a URL, http://host/... or https://host/..."
    assert faults(domains) == [f"{expected}, found 'https://garden.example:{port}/trees.json'"]


def test_each_domain_is_loaded_by_itself(domains: Path) -> None:
    other = domains / "herbs"
    other.mkdir()
    (other / "_domain.yaml").write_text("titel: Herbs", encoding="utf-8")
    (other / "mint.yaml").write_text(SOURCE, encoding="utf-8")

    loaded = load_each(domains)

    assert (list(loaded.domains), list(loaded.broken)) == (["plants"], ["herbs"])
    broken = loaded.broken["herbs"]
    assert broken.source_names == {"mint"}
    assert f"{other}/_domain.yaml:1: titel: expected one of" in str(broken.error)
    assert str(broken).startswith("herbs is left out: 5 faults in its declarations, first ")


DOCUMENT_FIELDS = "file: {file}, title: A, format: f, from: m"


@pytest.mark.parametrize(
    ("documents", "warnings"),
    [
        pytest.param(["{purl_distro: garden}"], [("plants", 6, 0, "garden")], id="one"),
        pytest.param(
            ["{purl_distro: garden-1}", "{author: A}", "{purl_type: deb, purl_distro: park}"],
            [("plants", 6, 0, "garden-1"), ("plants", 8, 2, "park")],
            id="two of three",
        ),
        pytest.param(["{purl_qualifiers: {distro: garden}}"], [], id="the new name"),
        pytest.param(["{author: purl_distro}"], [], id="a value of that name"),
    ],
)
def test_an_old_option_is_read_with_a_warning_that_names_its_line(
    domains: Path,
    caplog: pytest.LogCaptureFixture,
    documents: list[str],
    warnings: list[tuple[str, int, int, str]],
) -> None:
    lines = [
        f"  - {{{DOCUMENT_FIELDS.format(file=f'{number}.json')}, options: {options}}}"
        for number, options in enumerate(documents)
    ]
    change(
        domains,
        "schedule: 0 5 * * *\n",
        "schedule: 0 5 * * *\ndocuments:\n" + "\n".join(lines),
        file="_domain.yaml",
    )

    loaded = load(domains)["plants"]

    assert len(loaded.documents) == len(documents)
    assert [record.getMessage() for record in caplog.records] == [
        f"{domains}/{folder}/_domain.yaml:{line}: documents[{index}].options.purl_distro: expected "
        f"purl_qualifiers: {{distro: {value}}}, found purl_distro; the next version does not read "
        "the old name"
        for folder, line, index, value in warnings
    ]
