"""YAML documents with positions: how people's files are read, checked and complained about."""
