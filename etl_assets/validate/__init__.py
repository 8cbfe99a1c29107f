"""Checks that a stored file is what its source declares; files that are not go to quarantine."""
