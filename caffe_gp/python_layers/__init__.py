"""Layers of ours as Caffe's ``type: "Python"`` layers, for either engine."""
