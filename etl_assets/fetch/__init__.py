"""From a remote to the raw store: probe, decide, download, and requests from rows of a table."""
