"""``python -m caffe_gp`` is the command ``caffe_gp``."""

from __future__ import annotations

import sys

from caffe_gp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
