"""Everything that uses Dagster: assets, checks, sensors, the event log, and launching a run.

No other package imports Dagster, except `etl_assets.definitions`, which Dagster loads.
"""
