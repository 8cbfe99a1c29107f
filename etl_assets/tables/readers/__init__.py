"""One module per input standard; each turns a validated file into column batches."""
