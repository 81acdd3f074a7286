"""Nets with layers of segmentation and classification forks, on BVLC Caffe by way of our Python layers.

BVLC Caffe runs what ``caffe_gp.surgery`` makes of a net for it, as whoever chooses that engine has it. Needs
the real data (CAFFE_GP_SHARED_DATA).
"""
