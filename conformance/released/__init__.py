"""Nets and other files that others released, on both engines."""
