"""From a validated file to a parquet table: readers, contract checks, duplicate keys."""
