"""Edits of a net's description before it is loaded."""
