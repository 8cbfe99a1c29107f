"""From a remote to the raw store.

Probe, decide, download, and requests made from the rows of a table.
"""
