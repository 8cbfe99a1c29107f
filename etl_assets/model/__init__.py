"""Errors, paths, records and run options that several packages use; nothing here reads a file."""
