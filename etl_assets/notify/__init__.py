"""Notifications about runs: their content, and sending them."""
