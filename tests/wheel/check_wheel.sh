#!/usr/bin/env bash
# Builds sdist and wheel, installs the wheel into a new environment outside the checkout, and uses it there as
# somebody does who has nothing else: another current folder, an empty HOME.
#
#   tests/wheel/check_wheel.sh [PYTHON]       PYTHON: an interpreter with 'build' and 'twine' (default .venv's)
#
# KEEP=FOLDER keeps everything there; otherwise it goes when all is done.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=$(realpath -s "${1:-$project/.venv/bin/python}")
work=${KEEP:-$(mktemp -d)}
mkdir -p "$work/home" "$work/elsewhere"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT

say() { printf '\n-- %s\n' "$*"; }

say "sdist and wheel"
# From a copy, so that nothing is left in the checkout: what git tracks, and new files that it does not ignore.
mkdir -p "$work/source"
(cd "$project" && git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh) |
    tar -C "$project" --null --files-from=- -cf - | tar -C "$work/source" -xf -
"$python" -m build --outdir "$work/dist" "$work/source" >"$work/build.log" 2>&1 || { tail -20 "$work/build.log"; exit 1; }
"$python" -m twine check --strict "$work"/dist/*
sources=$(tar -tzf "$work"/dist/*.tar.gz | sed 's#^[^/]*/##')
for name in CHANGELOG.md CITATION.cff CONTRIBUTING.md LICENSE SECURITY.md docs/README.md tools/run_gp.py; do
    grep -qx "$name" <<<"$sources" || { echo "the sdist lacks $name"; exit 1; }
done

say "a new environment"
"$python" -m venv "$work/venv"
wheel=$(echo "$work"/dist/*.whl)
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$project/constraints.txt" "${wheel}[demo]" mypy
unset PYTHONPATH
for name in ${!CAFFE_GP_*} ${!XDG_*}; do unset "$name"; done
export HOME=$work/home PATH=$work/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd "$work/elsewhere"
cp -r "$project/tests/wheel/user" .

say "caffe_gp --version, doctor"
[ "$(caffe_gp --version)" = "caffe_gp $(python -c 'import caffe_gp; print(caffe_gp.__version__)')" ]
python -c 'import caffe_gp, sys; sys.exit("checkout" if not caffe_gp.__file__.startswith(sys.prefix) else 0)'
caffe_gp doctor >doctor.txt
head -12 doctor.txt
grep -q "torch *2" doctor.txt
grep -q "$HOME/.cache/caffe_gp" doctor.txt

say "the demo, a photo, inspect, prepare, an experiment"
caffe_gp demo --scenes 20 --validation 10 --quiet
test -s reports/demo/index.html
python user/photo.py photo.png
caffe_gp run --model digits --image photo.png --out out
test -s out/results.json
test -s out/panel/photo.png
caffe_gp inspect "$(python user/shipped.py models digits digits.caffemodel)" | grep "fits: digits"
caffe_gp prepare fcn-32s | grep -q 'type: "Softmax"'
caffe_gp reproduce figure9
test -s reports/paper/figure9/index.html

say "python -m caffe_gp.caffe, a user's script, its types"
python -m caffe_gp.caffe user/pycaffe_script.py "$(python user/shipped.py prototxt lenet deploy.prototxt)"
python user/script.py photo.png
mypy --strict user/script.py

say "what is not there is said before the work"
if caffe_gp run --model fcn-32s --image photo.png --out out2 2>error.txt; then exit 1; fi
grep "caffe_gp fetch models fcn-32s" error.txt

say "the wheel is right"
