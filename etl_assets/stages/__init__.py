"""What is done to data, in the data's order. A stage takes values and returns a frozen record."""
