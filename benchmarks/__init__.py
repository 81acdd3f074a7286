"""What is timed: speed and memory beside BVLC Caffe, PyTorch and OpenCV."""
