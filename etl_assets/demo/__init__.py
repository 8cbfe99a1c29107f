"""Plays the demo of a domain on its samples."""
