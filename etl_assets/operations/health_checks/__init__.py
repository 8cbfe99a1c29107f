"""The single checks of `etl health`."""
