#!/usr/bin/env python3
"""`caffe_gp classify` of this checkout, which need not be installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from caffe_gp.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["classify", *sys.argv[1:]]))
