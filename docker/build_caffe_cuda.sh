#!/bin/sh
# Builds BVLC Caffe and its Python bindings with CUDA, from the source package of Debian's python3-caffe.
#
#   docker/build_caffe_cuda.sh PREFIX       for Debian 11 with docker/cuda-build-packages.txt installed
#
# The revision, Debian's patches and the options are those of the package that everything here is compared with;
# CPU_ONLY is off. No distribution has a CUDA build of it for a Python that we support. cuDNN is in none either, so
# convolutions are Caffe's own: im2col and cuBLAS.
#
#   CUDA_ARCHITECTURES   binaries for these (default: 35 50 60 70 80, Kepler to Ada); a binary also runs on later
#                        GPUs of its major version. PTX of the last serves what comes after.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
version=1.0.0+git20180821.99bd997-8
prefix=${1:?the folder to install into is missing}
architectures=${CUDA_ARCHITECTURES:-35 50 60 70 80}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

echo "deb-src $("$here/apt_mirror.sh") bullseye main" > /etc/apt/sources.list.d/source.list
apt-get -q update
apt-get -q -o Acquire::Retries=3 --download-only source "caffe=$version"
rm -rf /var/lib/apt/lists/* /etc/apt/sources.list.d/source.list
dpkg-source --extract caffe_*.dsc caffe           # with Debian's patches

cmake -S caffe -B build \
    -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_PREFIX="$prefix" \
    -DCMAKE_INSTALL_RPATH="$prefix/lib" \
    -DCPU_ONLY=OFF -DUSE_CUDNN=OFF -DUSE_NCCL=OFF \
    -DCUDA_ARCH_NAME=Manual -DCUDA_ARCH_BIN="$architectures" -DCUDA_ARCH_PTX="${architectures##* }" \
    -DCUDA_NVCC_FLAGS=-Wno-deprecated-gpu-targets \
    -DBLAS=Generic -Dpython_version=3 -DBUILD_docs=OFF -DBUILD_matlab=OFF -DALLOW_LMDB_NOLOCK=OFF
make -C build -j "$(nproc)" pycaffe
cmake -P build/src/caffe/cmake_install.cmake
cmake -P build/python/cmake_install.cmake
