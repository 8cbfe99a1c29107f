"""From marts to a published set: documents, the gate, run directories and the `latest` link."""
