"""Training nets by Caffe's solver files."""
