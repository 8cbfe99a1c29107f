"""The names of checks on models: those of dbt's tests, without the domain and the model.

A check is shown below its asset, whose key has both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain


def short_model_name(model: str, domain: str) -> str:
    """The name of a model without the domain's: `stg_orchard__trees` is `stg_trees`."""
    return model.replace(f"_{domain}__", "_", 1)


def present_names(asset: str, check: str, domain: str) -> Iterator[tuple[str, str]]:
    """The asset and the name that a check may have now, if a former version recorded it.

    Former versions had dbt's names of models and of tests. The names themselves come first, then
    what they are now; a check of this version may have one that no test of its model has.
    """
    folder, _, model = asset.rpartition("/")
    short_model = short_model_name(model, domain)
    # The name of a test has the model's whole name, also where the key had the short one.
    models = (model, short_model, short_model.replace("_", f"_{domain}__", 1))
    for name in (model, short_model):
        for test in dict.fromkeys((check, *(short_check_name(check, domain, m) for m in models))):
            yield f"{folder}/{name}".removeprefix("/"), test


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
