"""Documents in one canonical form, with the comments of their authors."""
