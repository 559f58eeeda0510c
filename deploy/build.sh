#!/usr/bin/env bash
# Builds the tree into a folder: deploy/build.sh FOLDER [meson options]. A folder that is there takes the options that differ.
# ccache is used where it is installed. STERNA_TARGET=threads builds that alone, STERNA_JOBS=1 one file at a time.
set -eu
cd "$(dirname "$0")/.."
folder=${1:?usage: deploy/build.sh FOLDER [meson options]}
shift
if [ -z "${CC:-}" ]; then
    command -v ccache >/dev/null && CC="ccache gcc" || CC=gcc
    export CC
fi

# The options of the command line that the folder does not have so, one a line.
differing() {
    meson introspect --buildoptions "$folder" | python3 -c 'import json, sys
def text(v):
    return ",".join(v) if isinstance(v, list) else str(v).lower() if isinstance(v, bool) else str(v)
has = {o["name"]: text(o["value"]) for o in json.load(sys.stdin)}
for option in sys.argv[1:]:
    name, _, value = option[2:].partition("=")
    if option.startswith("-D") and has.get(name) != value:
        print(option)' "$@"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
    "$@" >"$log" 2>&1 || { cat "$log"; exit 1; }
}
if [ ! -f "$folder/build.ninja" ]; then
    quietly meson setup "$folder" "$@"
elif [ $# -gt 0 ]; then
    mapfile -t options < <(differing "$@")
    [ ${#options[@]} = 0 ] || quietly meson configure "$folder" "${options[@]}"
fi
ninja -C "$folder" -j "${STERNA_JOBS:-$(nproc)}" --quiet "${STERNA_TARGET:-all}"
