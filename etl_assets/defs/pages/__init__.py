"""Dagster's pages: the web server, what runs beside it, and which requests it answers."""
