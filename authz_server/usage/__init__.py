"""What is used of policies: counted from the records of decisions."""
