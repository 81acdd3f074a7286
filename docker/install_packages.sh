#!/bin/sh
# Installs the Debian packages that the given lists name, one a line.
#
#   docker/install_packages.sh docker/bvlc-packages.txt
#   docker/install_packages.sh --non-free docker/cuda-packages.txt
#
# --non-free   also from the components contrib and non-free, where CUDA is
# --simulate   only say what would be installed: proves that the names exist and their dependencies can be met
#
# The images and the file system of 'make bvlc' are made with this script.
#
#   CAFFE_GP_DEBIAN_MIRROR=URL   in place of the mirror in apt's sources, for instance Debian's archive for a release
#                                that has left the other mirrors
set -eu

non_free= simulate=
while :; do
    case ${1:-} in
        --non-free) non_free=1 ;;
        --simulate) simulate=--simulate ;;
        *) break ;;
    esac
    shift
done
[ $# -gt 0 ] || { echo "install_packages: error: no list of packages" >&2; exit 1; }
packages=$(cat "$@" | sed -e 's/#.*//')

mirror=$("$(dirname "$0")/apt_mirror.sh")
if [ -z "$mirror" ] && [ -n "$non_free${CAFFE_GP_DEBIAN_MIRROR:-}" ]; then
    echo "install_packages: error: apt's sources name no Debian mirror" >&2
    exit 1
fi
if [ -n "${CAFFE_GP_DEBIAN_MIRROR:-}" ]; then
    # Security updates are at MIRROR-security, on the usual mirrors as in the archive.
    find /etc/apt/sources.list /etc/apt/sources.list.d -type f -exec sed -i "s#$mirror#${CAFFE_GP_DEBIAN_MIRROR%/}#" {} +
    mirror=${CAFFE_GP_DEBIAN_MIRROR%/}
    echo 'Acquire::Check-Valid-Until "false";' > /etc/apt/apt.conf.d/90archive
fi
if [ -n "$non_free" ]; then
    # Not from the security updates: their index of non-free names drivers that are on no mirror any more.
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    echo "deb $mirror $suite contrib non-free" > /etc/apt/sources.list.d/non-free.list
fi

export DEBIAN_FRONTEND=noninteractive
apt-get -q update
# shellcheck disable=SC2086  # a list of words
apt-get -q -y --no-install-recommends -o Acquire::Retries=3 $simulate install $packages
apt-get clean
rm -rf /var/lib/apt/lists/*
