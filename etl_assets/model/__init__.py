"""Records and rules that several packages use.

Errors, paths of a home, file records, run options. No I/O.
"""
