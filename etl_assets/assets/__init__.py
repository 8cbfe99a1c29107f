"""The only room that speaks Dagster; its modules bear the stages' names."""
