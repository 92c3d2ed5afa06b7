"""What policies could do without, by what is on record of their use."""
