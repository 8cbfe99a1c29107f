"""Touching the outside: one medium per module, one standard per module in readers/ and writers/."""
