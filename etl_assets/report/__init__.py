"""The report of a run: gathered once, rendered as HTML and Markdown."""
