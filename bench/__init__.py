"""What is measured, and against what: `make bench` prints the table. No product code lies here."""
