"""What is measured and compared by `make bench`. No code of the product belongs here."""
