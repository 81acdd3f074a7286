#!/usr/bin/env bash
# Builds a Debian 11 file system that holds BVLC Caffe with its own Python bindings.
#
#   tools/bvlc_rootfs.sh [DIR]          DIR is .cache/bvlc in the project when left out
#
# Needs root, debootstrap, 1.5 GB of disk and a Debian mirror. Nothing outside DIR, DIR.partial and
# DIR.debs is touched. A finished DIR is left alone unless docker/bvlc-packages.txt has changed; a run
# that was stopped goes on where it stopped.
#
#   CAFFE_GP_DEBIAN_MIRROR=URL   the mirror to use instead of the one that apt's sources name
#   CAFFE_GP_DEBIAN_KEYRING=FILE the keyring that verifies it (default: debian-archive-keyring's)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${1:-$here/.cache/bvlc}")
partial=$target.partial
debs=$target.debs
list=$here/docker/bvlc-packages.txt
suite=bullseye

say() { printf '%s\n' "bvlc_rootfs: $*"; }
die() { printf '%s\n' "bvlc_rootfs: error: $*" >&2; exit 1; }

packages=$(sed -e 's/#.*//' "$list" | tr -s ' \n' ' ')   # what the stamp is made of
stamp=$(printf '%s %s' "$suite" "$packages" | sha256sum | cut -d' ' -f1)

if [ "$(cat "$target/.caffe_gp_stamp" 2>/dev/null || true)" = "$stamp" ]; then
    say "$target is up to date"
    exit 0
fi

[ "$(id -u)" = 0 ] || die "a chroot is needed, so this must run as root: sudo $0 $*"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap debian-archive-keyring"

mirror=${CAFFE_GP_DEBIAN_MIRROR:-$("$here/docker/apt_mirror.sh")}
[ -n "$mirror" ] || die "no Debian mirror is named in /etc/apt/sources.list or /etc/apt/sources.list.d;" \
    "set CAFFE_GP_DEBIAN_MIRROR to the URL of one"

keyring=${CAFFE_GP_DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
[ -r "$keyring" ] || die "$keyring is missing, so the mirror cannot be verified: apt-get install debian-archive-keyring"

# Mounts live in a mount namespace of their own and vanish with it. Where the machine permits none, we do without:
# the packages below install without /proc as well.
isolated=()
if unshare --mount true 2>/dev/null; then isolated=(unshare --mount); fi

in_partial() {
    "${isolated[@]}" sh -c '
        root=$1; shift
        mount -t proc proc "$root/proc" 2>/dev/null || true
        exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive "$@"' sh "$partial" "$@"
}

mkdir -p "$(dirname "$target")" "$debs"
exec 9>"$target.lock"
flock --nonblock 9 || { say "another build is running; waiting for it"; flock 9; exec "$0" "$target"; }

if [ ! -e "$partial/.caffe_gp_bootstrapped" ]; then
    say "Debian $suite from $mirror into $target"
    rm -rf --one-file-system "$partial"
    mkdir -p "$partial/dev"
    bootstrap=("${isolated[@]}" env)
    if ! mknod "$partial/dev/null" c 1 3 2>/dev/null; then
        # No device nodes here (a container without CAP_MKNOD). Plain files do for installing packages, and
        # debootstrap, told that it is in an lxc container, then accepts the ones that are there.
        touch "$partial/dev/"{null,zero,full,random,urandom,tty,console,ptmx}
        chmod 666 "$partial/dev/"*
        bootstrap+=(container=lxc)
    fi
    "${bootstrap[@]}" debootstrap --variant=minbase --keyring="$keyring" --cache-dir="$debs" \
        "$suite" "$partial" "$mirror" || die "debootstrap failed; its log: $partial/debootstrap/debootstrap.log"
    touch "$partial/.caffe_gp_bootstrapped"
fi

say "installing: $packages"
printf 'deb %s %s main\n' "$mirror" "$suite" > "$partial/etc/apt/sources.list"
apt-config dump 2>/dev/null | grep -E '^Acquire::https?::Proxy' > "$partial/etc/apt/apt.conf.d/90proxy" || true
echo force-unsafe-io > "$partial/etc/dpkg/dpkg.cfg.d/90caffe_gp"          # this tree is a cache: no fsync per file
printf 'path-exclude=/usr/share/%s/*\n' doc man locale >> "$partial/etc/dpkg/dpkg.cfg.d/90caffe_gp"
printf '#!/bin/sh\nexit 101\n' > "$partial/usr/sbin/policy-rc.d"             # start no services
chmod +x "$partial/usr/sbin/policy-rc.d"
cp -L /etc/resolv.conf "$partial/etc/resolv.conf" 2>/dev/null || true
mkdir -p "$partial/caffe_gp" "$partial/shared-data"
cp -R "$here/docker" "$partial/caffe_gp/"
in_partial dpkg --configure -a
in_partial /caffe_gp/docker/install_packages.sh "/caffe_gp/docker/${list##*/}"
rm -r "$partial/caffe_gp/docker"

in_partial python3 -c 'import caffe; print("BVLC Caffe", caffe.__version__, "with", len(caffe.layer_type_list()), "layers")' \
    2>/dev/null || die "the packages are there but 'import caffe' fails; try: chroot $partial python3 -c 'import caffe'"

echo "$stamp" > "$partial/.caffe_gp_stamp"
if [ -e "$target" ]; then rm -rf --one-file-system "$target"; fi
mv "$partial" "$target"
rm -rf "$debs"
say "ready: $target"
