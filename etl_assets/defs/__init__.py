"""Everything that speaks Dagster.

Asset keys, specs, steps, sensors, and the event log read back.
"""
