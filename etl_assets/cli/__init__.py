"""The `etl` command."""
