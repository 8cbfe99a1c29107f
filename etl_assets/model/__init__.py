"""What things are: frozen records, declarations and the exception tree. No I/O happens here."""
