#!/usr/bin/env bash
# Builds the tree into a folder: deploy/build.sh FOLDER [meson options]. ccache is used. STERNA_TARGET=threads builds that alone,
# STERNA_JOBS=1 one file at a time.
set -eu
cd "$(dirname "$0")/.."
folder=${1:?usage: deploy/build.sh FOLDER [meson options]}
shift
export CC="${CC:-ccache gcc}"
[ -f "$folder/build.ninja" ] || meson setup "$folder" "$@" >"/tmp/sterna-setup.$$" 2>&1 || { cat "/tmp/sterna-setup.$$"; exit 1; }
rm -f "/tmp/sterna-setup.$$"
ninja -C "$folder" -j "${STERNA_JOBS:-$(nproc)}" --quiet "${STERNA_TARGET:-all}"
