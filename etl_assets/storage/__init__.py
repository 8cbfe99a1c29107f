"""Bytes on disk: atomic writes, locks, archives, hashes."""
