"""The policy language: reading, checking, compiling and deciding."""
