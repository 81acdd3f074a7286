"""The command ``caffe_gp``: a module for each subcommand."""
