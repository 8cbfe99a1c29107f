"""What a home lets go: run directories, raw files, and Dagster's records of runs."""
