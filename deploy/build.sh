#!/usr/bin/env bash
# Builds the tree into a folder: deploy/build.sh FOLDER [meson options]. A folder that is there takes the -D... that differ, and
# all others but --cross-file and --native-file: it has its machine.
# ccache is used where it is installed. STERNA_TARGET=threads builds that alone, STERNA_JOBS=1 one file at a time.
set -eu
cd "$(dirname "$0")/.."
folder=${1:?usage: deploy/build.sh FOLDER [meson options]}
shift
if [ -z "${CC:-}" ]; then
    command -v ccache >/dev/null && CC="ccache gcc" || CC=gcc
    export CC
fi

# What the folder has, as meson says it, then options: those that are not so, and those of which that is not seen; one a line.
differing() {
    python3 -c 'import json, sys
def text(v):
    return ",".join(v) if isinstance(v, list) else str(v).lower() if isinstance(v, bool) else str(v)
has = {o["name"]: text(o["value"]) for o in json.loads(sys.argv[1])}
options = iter(sys.argv[2:])
for option in options:
    name, equals, value = option[2:].partition("=")
    if name in ("cross-file", "native-file") and option.startswith("--"):
        equals or next(options, "")
    elif not option.startswith("-D") or has.get(name) != value:
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
    has=$(meson introspect --buildoptions "$folder") || { echo "$has"; exit 1; }
    lines=$(differing "$has" "$@")
    if [ -n "$lines" ]; then
        mapfile -t options <<<"$lines"
        quietly meson configure "$folder" "${options[@]}"
    fi
fi
ninja -C "$folder" -j "${STERNA_JOBS:-$(nproc)}" --quiet "${STERNA_TARGET:-all}"
