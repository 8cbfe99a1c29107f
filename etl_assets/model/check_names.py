"""The names of checks on models: those of dbt's tests, without the domain and the model.

A check is shown below its asset, whose key has both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from itertools import chain


def short_check_name(test: str, domain: str, model: str) -> str:
    """The name of a test on a model, without what the key of the model says.

    `gate_orchard__trees_are_tall` is `trees_are_tall`, and `not_null_stg_orchard__trees_id`, which
    dbt made up, is `not_null_id`. Any other name is unchanged.
    """
    match = re.fullmatch(rf"(?:[a-z]+_)?{re.escape(domain)}__(\w+)", test)
    if match and "__" not in match[1]:
        return match[1]
    kind, _, rest = test.partition(f"_{model}_")
    return f"{kind}_{rest.partition('__')[0]}" if kind and rest else test


def short_check_names(tests: Collection[str], domain: str, model: str) -> dict[str, str]:
    """The short name of each test on a model, by the name of the test.

    A short name that would be that of two tests, or is the name of another test, is not used:
    verdicts are recorded by the name.
    """
    short = {test: short_check_name(test, domain, model) for test in tests}
    uses = Counter(chain.from_iterable({test, name} for test, name in short.items()))
    return {test: name if uses[name] == 1 else test for test, name in short.items()}
