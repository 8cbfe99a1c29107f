"""Notifications: whether a run is news, and sending it."""
