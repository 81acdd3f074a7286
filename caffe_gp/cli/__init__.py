"""The command ``caffe_gp``: a module for each subcommand, and what they share.

A subcommand's module, caffe_gp/cli/NAME.py, has

    EXAMPLES                what --help ends with
    ON_INTERRUPT            what Ctrl-C says (may be missing)
    add_arguments(parser)   its options; those that others have too come from ``options``
    work(args)              does it; a mistake of the user's is a CaffeGPError

and is imported only when its subcommand is used: ``caffe_gp --help`` loads neither PyTorch nor numba.
"""
