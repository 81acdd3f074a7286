"""numba where nothing can be written: a read-only installation, and no HOME."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import caffe_gp
from caffe_gp.crf import PRESETS, DenseCRF

CODE = """
import sys; sys.path.insert(0, sys.argv[1])
import numpy as np, caffe_gp.crf
from caffe_gp import compiled
from caffe_gp.crf import PRESETS, DenseCRF
assert caffe_gp.__file__.startswith(sys.argv[1])
image, scores = np.load(sys.argv[2]).values()
np.save(sys.argv[3], DenseCRF(image, PRESETS["deeplab"]).probabilities(scores))
print(compiled.CACHE)
"""


def test_the_crf_works_without_a_folder_for_compiled_code(tmp_path):
    site = tmp_path / "site"
    package, compiled = Path(caffe_gp.__file__).parent, shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, site / "caffe_gp", ignore=compiled)
    random = np.random.RandomState(0)
    image = random.randint(0, 256, (20, 30, 3)).astype(np.uint8)
    scores = random.normal(size=(4, 20, 30)).astype(np.float32)
    np.savez(tmp_path / "in.npz", image=image, scores=scores)
    # Files in the place of folders: not even root can write there.
    for folder in ("caffe_gp", "caffe_gp/crf"):
        (site / folder / "__pycache__").touch()
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""}
    environment.update(HOME=os.devnull, XDG_CACHE_HOME=os.devnull)
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", CODE, str(site), str(tmp_path / "in.npz"), str(tmp_path / "out.npy")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False\n"
    expected = DenseCRF(image, PRESETS["deeplab"]).probabilities(scores)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)
