"""Every net of the zoo, with all its layers and channels and random weights, on both engines."""
