"""The dbt models as assets: their specs, builds and checks, and their state in the event log."""
