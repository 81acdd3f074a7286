#!/bin/sh
# Finishes an image in which the project and its packages lie: the folders to mount, the user, make's interpreter.
#
#   docker/prepare_image.sh
#
# CAFFE_GP_VENV, CAFFE_GP_MODELS and CAFFE_GP_DATA name folders, as the Dockerfile's ENV does.
set -eu
project=$(cd "$(dirname "$0")/.." && pwd)

# Any user of the host may be the one who writes here (docker/entrypoint.sh), so the folders are open to all.
groupadd --gid 1000 caffe_gp
useradd --uid 1000 --gid 1000 --no-create-home --home-dir /tmp --shell /bin/bash caffe_gp
mkdir -p "$CAFFE_GP_MODELS" "$CAFFE_GP_DATA" /reports
chown 1000:1000 "$CAFFE_GP_MODELS" "$CAFFE_GP_DATA" /reports
chmod 777 "$CAFFE_GP_MODELS" "$CAFFE_GP_DATA" /reports
ln -s /reports "$project/reports"

# The Debian 11 images have their Python packages from Debian; the torch image has made this folder before.
if [ ! -e "$CAFFE_GP_VENV/bin/python" ]; then
    python3 -m venv --system-site-packages --without-pip "$CAFFE_GP_VENV"
fi
if [ ! -e "$CAFFE_GP_VENV/bin/caffe_gp" ]; then
    printf '#!/bin/sh\nexec "%s/bin/python" -m caffe_gp "$@"\n' "$CAFFE_GP_VENV" > "$CAFFE_GP_VENV/bin/caffe_gp"
    chmod 755 "$CAFFE_GP_VENV/bin/caffe_gp"
fi
touch "$CAFFE_GP_VENV/.ready"                       # make: newer than pyproject.toml, so there is nothing to install
"$CAFFE_GP_VENV/bin/python" -m compileall -q "$project/caffe_gp"
