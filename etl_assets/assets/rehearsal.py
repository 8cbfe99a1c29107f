"""Playing a domain's demo: its samples behind a local HTTP server, in a home of its own.

What the steps are, `samples/<domain>/demo.yaml` says; playing them one by one is `stages.demo`.
"""
