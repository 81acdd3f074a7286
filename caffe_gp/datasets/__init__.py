"""The data sets of the paper and of the demo: lists, images and label maps. Knows nobody above it."""
