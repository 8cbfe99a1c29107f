"""Storage classes of Dagster's instance, which `dagster.yaml` of a home names."""
