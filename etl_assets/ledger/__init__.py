"""The exported ledger of files under `manifests/`."""
