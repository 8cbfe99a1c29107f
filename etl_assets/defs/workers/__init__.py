"""Runs that a command submits and a worker on another host executes."""
