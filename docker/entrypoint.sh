#!/bin/sh
# What the images run: the words after the image's name in 'docker run'. Without any, the help below.
#
# The work never runs as root of the host: it runs as the user who owns the folder that the output goes to, so that
# the files are that user's. The folder is the one that '-w' names, otherwise /reports. Docker makes a folder that is
# not there for '-v', empty and root's; it is given to user 1000 first, and new ones for weights and data to the same
# user. With '--user' nothing of this happens.
set -eu
project=$(cd "$(dirname "$0")/.." && pwd)
python=$CAFFE_GP_VENV/bin/python

commands() { "$python" -m caffe_gp --help | sed -n '/^commands:/,/^$/p'; }

help() {
    cat <<'TEXT'
caffe_gp: guided perturbations of Caffe nets, in a container

  docker run caffe-gp run --help                  a command of caffe_gp, see below
  docker run caffe-gp doctor                      what is here: engines, GPUs, data, weights
  docker run caffe-gp inspect FILE                what a prototxt or a weights file holds
  docker run caffe-gp make TARGET                 make's targets, see below
  docker run caffe-gp health --device cuda        runs a tiny net and compares with the formula
  docker run -it caffe-gp bash                    any other command

  --gpus all                          the GPUs; without them everything runs on the CPU
  -v "$PWD/reports:/reports"          reports; they belong to the owner of the folder
  -v "$PWD:/files" -w /files          your own files, with paths as they are here
  -v caffe-gp-models:/models          released weights (make models)
  -v "$PWD/data:/data"                data sets (make data)

TEXT
    commands
    printf '\ntargets of make:\n'
    make --no-print-directory -C "$project" help | grep -E '^  make (models|data|demo|reproduce)'
}

# In a user namespace (rootless engines) root is the caller, not the host's root: the mapping says so.
is_root_of_host() { [ "$(id -u)" = 0 ] && [ "$(awk '$1 == 0 { print $2 }' /proc/self/uid_map)" = 0 ]; }

# Folders that Docker has just made. Those of the image belong to user 1000.
is_new() { [ "$(stat -c %u "$1")" = 0 ] && [ -z "$(ls -A "$1")" ]; }

if is_root_of_host; then
    output=/reports
    [ "$PWD" = "$project" ] || output=$PWD
    if is_new "$output"; then chown 1000:1000 "$output"; fi
    owner=$(stat -c %u:%g "$output")
    for folder in "$CAFFE_GP_MODELS" "$CAFFE_GP_DATA"; do
        if is_new "$folder"; then chown "$owner" "$folder"; fi
    done
    if [ "${owner%:*}" != 0 ]; then              # 0: root's own folder, with files in it; root is the caller
        exec setpriv --reuid "${owner%:*}" --regid "${owner#*:}" --clear-groups -- "$0" "$@"
    fi
fi

# The user may have no entry in /etc/passwd and no home.
HOME=/tmp/home-$(id -u)
USER=${USER:-caffe_gp}
MPLCONFIGDIR=$HOME/matplotlib
NUMBA_CACHE_DIR=${NUMBA_CACHE_DIR:-$HOME/numba}
mkdir -p "$HOME"
export HOME USER MPLCONFIGDIR NUMBA_CACHE_DIR

if [ "${CAFFE_GP_DEVICE:-cpu}" != cpu ] && [ ! -e /dev/nvidiactl ] && [ ! -e /dev/dxg ]; then
    [ $# = 0 ] || echo "caffe-gp: no GPU here (docker run --gpus all): computing on the CPU" >&2
    export CAFFE_GP_DEVICE=cpu
fi

# The image has no data, and no weights unless it was built with MODELS. What a container without volumes downloads
# is gone with it.
tell_about_volumes() {
    missing=
    for folder in "$CAFFE_GP_MODELS" "$CAFFE_GP_DATA"; do
        if [ -z "$(ls -A "$folder")" ] && ! mountpoint -q "$folder"; then missing="$missing $folder"; fi
    done
    [ -n "$missing" ] || return 0
    cat >&2 <<TEXT
caffe-gp: nothing is mounted on:$missing
  Once, gigabytes:      docker run -v caffe-gp-models:/models -v "\$PWD/data:/data" caffe-gp make models data
  Then with this too:   -v caffe-gp-models:/models -v "\$PWD/data:/data"
TEXT
}

command=${1:-help}
[ $# = 0 ] || shift
case $command in
    help|-h|--help) help ;;
    health) exec "$python" "$project/docker/health.py" "$@" ;;
    make)
        case $* in *models*|*data*|*reproduce*) tell_about_volumes ;; esac
        exec make --no-print-directory -C "$project" "$@" ;;
    *)
        if commands | grep -q "^  $command "; then
            exec "$python" -m caffe_gp "$command" "$@"
        fi
        if [ -e "$project/tools/${command%.py}.py" ] && [ "${command#*/}" = "$command" ]; then
            exec "$python" "$project/tools/${command%.py}.py" "$@"
        fi
        exec "$command" "$@" ;;
esac
