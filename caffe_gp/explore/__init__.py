"""A page for looking at guided perturbations: a slider moves, the labels follow (``caffe_gp explore``)."""
