"""Short names of checks: what the key of the asset says is left out."""

from __future__ import annotations

import pytest

from etl_assets.model.check_names import short_check_name, short_check_names


@pytest.mark.parametrize(
    ("test", "model", "short"),
    [
        ("gate_plants__trees_are_tall", "mart_trees", "trees_are_tall"),
        ("plants__trees_are_tall", "stg_plants__trees", "trees_are_tall"),
        ("not_null_stg_plants__trees_tree_id", "stg_plants__trees", "not_null_tree_id"),
        ("unique_kinds_kind", "kinds", "unique_kind"),
        ("accepted_values_kinds_kind__pear__apple", "kinds", "accepted_values_kind"),
        ("relationships_kinds_kind__kind__ref_trees_", "kinds", "relationships_kind"),
        ("gate_ferns__are_green", "mart_trees", "gate_ferns__are_green"),
        ("trees_are_tall", "mart_trees", "trees_are_tall"),
        ("gate_plants__", "mart_trees", "gate_plants__"),
        ("gate_plants__kinds_are_known", "kinds", "kinds_are_known"),
        ("gate_plants__a__b", "mart_trees", "gate_plants__a__b"),
    ],
)
def test_a_short_name_has_neither_domain_nor_model(test: str, model: str, short: str) -> None:
    assert short_check_name(test, "plants", model) == short


@pytest.mark.parametrize(
    ("tests", "names"),
    [
        pytest.param(
            ["gate_plants__are_tall", "plants__are_green"],
            ["are_tall", "are_green"],
            id="two names",
        ),
        pytest.param(
            ["gate_plants__are_tall", "plants__are_tall"],
            ["gate_plants__are_tall", "plants__are_tall"],
            id="one short name for two tests",
        ),
        pytest.param(
            ["gate_plants__are_tall", "are_tall"],
            ["gate_plants__are_tall", "are_tall"],
            id="a test has the short name",
        ),
        pytest.param(
            ["gate_plants__not_null_kinds_kind", "not_null_kinds_kind"],
            ["gate_plants__not_null_kinds_kind", "not_null_kind"],
            id="a test has the short name, and another one itself",
        ),
    ],
)
def test_no_two_checks_of_a_model_have_one_name(tests: list[str], names: list[str]) -> None:
    assert list(short_check_names(tests, "plants", "kinds").values()) == names
