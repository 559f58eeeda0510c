#!/bin/sh
# deploy/build.sh on a tree of one option. Argument: the source's top.
. "$(dirname "$0")/../lib/live.sh"
top=$1

mkdir -p "$dir/tree/deploy"
cp "$top/deploy/build.sh" "$dir/tree/deploy"
echo "project('tree')" >"$dir/tree/meson.build"
echo "option('bench', type: 'boolean', value: true)" >"$dir/tree/meson_options.txt"

build() {
    ok env -u STERNA_TARGET -u STERNA_JOBS bash "$dir/tree/deploy/build.sh" "$@"
}

has() { # an option, its value in the folder
    meson introspect --buildoptions "$dir/tree/build" | grep -q "\"name\": \"$1\", \"value\": $2,"
}

check "a folder is made" build build
check "without options it has meson's" has werror false
check "options reach a folder that is there" build build -Dwerror=true -Dbench=false
check "as they are given" has werror true
check "all of them" has bench false
made=$(stat -c %Y "$dir/tree/build/meson-private/coredata.dat" && stat -c %i "$dir/tree/build/meson-private/coredata.dat")
check "the same ones again" build build -Dwerror=true
same "change nothing" "$made" "$(stat -c %Y "$dir/tree/build/meson-private/coredata.dat" && stat -c %i "$dir/tree/build/meson-private/coredata.dat")"
check "others stay" has bench false
check "an option that is none is an error" ends 1 bash "$dir/tree/deploy/build.sh" build -Dno_such=1
passed
