"""One module per output standard; each streams rows into a document and knows only its standard."""
