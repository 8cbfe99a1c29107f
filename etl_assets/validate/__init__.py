"""Checks that a stored file is what its source declares; refused files go to quarantine."""
