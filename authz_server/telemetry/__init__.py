"""Names, metrics and logs."""
