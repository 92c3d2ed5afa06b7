"""What can be said of policies without a request: where two of them decide differently, and what a linter finds."""
