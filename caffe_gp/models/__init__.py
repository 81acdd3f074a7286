"""Nets as code that writes their prototxts."""
