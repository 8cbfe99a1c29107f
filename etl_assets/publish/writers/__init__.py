"""One module per document format; each streams rows into its standard and knows no domain."""
