#!/usr/bin/env bash
# Runs a command beside BVLC Caffe, inside the file system that tools/bvlc_rootfs.sh built.
#
#   tools/in_bvlc.sh python3 -m pytest tests/gp
#
# The command starts in /caffe_gp, the project; /shared-data is the folder of real data, where there is one.
# Both are bind-mounted. Where mounts are not permitted they are copied or hard-linked in instead, and what the
# command wrote into .cache/bvlc-recordings, benchmarks/results and reports is copied back out.
# OMP_*, OPENBLAS_*, GLOG_*, PYTEST_* and CAFFE_GP_* variables are passed on; GLOG_minloglevel is 2 (errors) if unset.
#
#   CAFFE_GP_BVLC_ROOT=DIR   the file system (default: .cache/bvlc)
#   CAFFE_GP_NO_MOUNT=1      copy even where mounts are permitted
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=$(realpath -m "${CAFFE_GP_BVLC_ROOT:-$here/.cache/bvlc}")
data=$(realpath -m "${CAFFE_GP_SHARED_DATA:-$here/../shared/data}")
written=(.cache/bvlc-recordings benchmarks/results reports)

die() { printf '%s\n' "in_bvlc: error: $*" >&2; exit 1; }
[ $# -gt 0 ] || die "no command; for example: $0 python3 -c 'import caffe'"
[ -e "$root/.caffe_gp_stamp" ] || die "$root holds no BVLC Caffe yet: run 'make bvlc' first"
[ "$(id -u)" = 0 ] || die "a chroot is needed, so this must run as root: sudo $0 $*"

variables=(PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
    NUMBA_CACHE_DIR=/tmp/numba PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/caffe_gp "GLOG_minloglevel=${GLOG_minloglevel:-2}")
while IFS= read -r name; do
    case $name in
        CAFFE_GP_BVLC_ROOT|CAFFE_GP_SHARED_DATA|CAFFE_GP_NO_MOUNT|GLOG_minloglevel) ;;
        OMP_*|OPENBLAS_*|GLOG_*|PYTEST_*|CAFFE_GP_*) variables+=("$name=${!name}") ;;
    esac
done < <(compgen -e)
if [ -d "$data" ]; then variables+=(CAFFE_GP_SHARED_DATA=/shared-data); fi

inside='cd /caffe_gp && exec "$@"'
mkdir -p "$root/caffe_gp" "$root/shared-data"

if [ -z "${CAFFE_GP_NO_MOUNT:-}" ] && unshare --mount mount --bind "$here" "$root/caffe_gp" 2>/dev/null; then
    # The mounts belong to a namespace of this command alone, so they vanish with it however it ends.
    exec unshare --mount bash -euc '
        here=$1 root=$2 data=$3; shift 3
        mount --bind "$here" "$root/caffe_gp"
        if [ -d "$data" ]; then mount --bind "$data" "$root/shared-data"; fi
        mount -t proc proc "$root/proc" 2>/dev/null || mount --bind /proc "$root/proc" 2>/dev/null || true
        mount --rbind /dev "$root/dev" 2>/dev/null || true
        exec chroot "$root" /usr/bin/env -i "$@"' \
        bash "$here" "$root" "$data" "${variables[@]}" sh -c "$inside" sh "$@"
fi

exec 9>"$root/.caffe_gp_copy_lock"
flock 9                                      # one copy of the project, so one command at a time
mountpoint -q "$root/caffe_gp" && die "$root/caffe_gp is a mount point: unmount it first"
find "$root/caffe_gp" -xdev -mindepth 1 -delete
tar -C "$here" --exclude=./.git --exclude=./.venv --exclude='./.cache/bvlc*' --exclude=./.cache/opencv --exclude=__pycache__ -cf - . |
    tar -C "$root/caffe_gp" -xf -
if [ -d "$data" ] && [ ! -e "$root/shared-data/.complete" ]; then
    cp -al "$data/." "$root/shared-data/" 2>/dev/null || cp -a "$data/." "$root/shared-data/"
    touch "$root/shared-data/.complete"
fi
status=0
chroot "$root" /usr/bin/env -i "${variables[@]}" sh -c "$inside" sh "$@" || status=$?
for folder in "${written[@]}"; do
    if [ -d "$root/caffe_gp/$folder" ]; then
        mkdir -p "$here/$folder"
        cp -a "$root/caffe_gp/$folder/." "$here/$folder/"
    fi
done
exit $status
