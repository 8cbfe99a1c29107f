"""dbt in process: which models to build, from which inputs, and their export as parquet."""
