"""Scores over whole sets of images: the confusion matrix, its measures, and how sure a gain is."""
