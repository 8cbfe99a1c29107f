"""The static site of a set: its rows, its pages and how they are rendered."""
