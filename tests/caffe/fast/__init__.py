"""Fast paths against the plain ones."""
