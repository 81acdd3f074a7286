#!/bin/sh
# Puts the released weights that MODELS names into CAFFE_GP_MODELS, checked and pinned by their sha256.
#
#   MODELS="fcn-32s fcn-8s" docker/fetch_weights.sh         nothing without MODELS
#
# Pins in models/weights.lock of the project hold here too: a file that differs from its pin ends the build.
set -eu
project=$(cd "$(dirname "$0")/.." && pwd)
[ -n "${MODELS:-}" ] || exit 0

if [ -e "$project/models/weights.lock" ]; then
    cp "$project/models/weights.lock" "$CAFFE_GP_MODELS/"
fi
# shellcheck disable=SC2086  # names, and options such as --yes-non-commercial
"$CAFFE_GP_VENV/bin/caffe_gp" fetch models $MODELS
"$CAFFE_GP_VENV/bin/caffe_gp" fetch models --verify
rm -rf "$CAFFE_GP_MODELS/.incoming"
chmod -R a+rwX "$CAFFE_GP_MODELS"
