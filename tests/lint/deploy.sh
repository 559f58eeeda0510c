#!/bin/sh
# deploy/build.sh on a tree of one option, deploy/packages.sh on a machine of pretence, and the units.
#   deploy.sh TOP
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
check "an option of another form" build build --buildtype=release
check "arrives, too" has buildtype '"release"'
check "with its value apart, too" build build --warnlevel 2 -D bench=true
check "as all say" has warning_level '"2"'
check "and the next" has bench true
echo "[binaries]" >"$dir/machine.ini"
check "a folder has its machine" build build --native-file "$dir/machine.ini" -Dbench=false
check "and takes what follows it" has bench false
check "in its other form, too" build build "--native-file=$dir/machine.ini" -Dbench=true
check "and what follows that" has bench true
mv "$dir/tree/build/meson-info" "$dir/aside"
check "what the folder has must be known" ends 1 env -u STERNA_TARGET bash "$dir/tree/deploy/build.sh" build -Dwerror=false
mv "$dir/aside" "$dir/tree/build/meson-info"
check "and it stays as it is" has werror true

# a machine: what it has is in has, what it is told to install in told
mkdir "$dir/bin"
for program in bash grep paste env; do ln -s "$(command -v $program)" "$dir/bin/$program"; done
pretend() { # a program, its lines
    program=$dir/bin/$1
    shift
    printf '%s\n' '#!/bin/sh' "$@" >"$program"
    chmod +x "$program"
}
pretend dpkg 'echo amd64'
pretend dpkg-query 'for p in "$@"; do :; done' "grep -qx -e \"\$p\" '$dir/has' && echo installed amd64"
pretend apt-get '[ "$1" != update ] || exit 0' 'bad=0' 'for p in "$@"; do case $p in' "-*|install) ;; *) if grep -qx -e \"\$p\" '$dir/unknown'; then bad=1; fi ;;" \
    'esac; done' '[ $bad = 0 ] || exit 100' 'for p in "$@"; do case $p in' "-*|install) ;; *) echo \"\$p\" >>'$dir/told' ;;" 'esac; done'
packages() { # a user's number
    pretend id "echo $1"
    : >"$dir/told"
    ok env PATH="$dir/bin" bash "$top/deploy/packages.sh"
}
: >"$dir/has"
: >"$dir/unknown"
check "root has all of it installed" packages 0
check "... what is needed" grep -qx libuv1-dev "$dir/told"
check "... and what is wanted" grep -qx glslc "$dir/told"
cp "$dir/told" "$dir/all"
pretend id "echo 7"
check "who may not install is told what to run" fails 1 "only root installs them: apt-get install gcc .*glslc" env PATH="$dir/bin" bash "$top/deploy/packages.sh"
grep -vx -e glslc -e python3-numpy "$dir/all" >"$dir/has"
check "what is only wanted is done without" packages 7
check "... which is said in a line" grep -q "^warning: not installed, done without: glslc python3-numpy (as root: apt-get install glslc python3-numpy)$" "$dir/err"
check "... and one line it is" [ "$(wc -l <"$dir/err")" = 1 ]
check "root has the rest installed" packages 0
same "... and that alone" "glslc python3-numpy" "$(tr '\n' ' ' <"$dir/told" | sed 's/ $//')"
: >"$dir/has"
echo glslc >"$dir/unknown"
check "a system without one that is wanted gets what is needed" packages 0
check "... all of it" grep -qx libsubunit-dev "$dir/told"
check "... and hears of the rest" grep -q "^warning: cannot be installed, done without: .*glslc" "$dir/err"
echo gcc >"$dir/unknown"
check "without one that is needed it fails" ends 100 env PATH="$dir/bin" bash "$top/deploy/packages.sh"
cp "$dir/all" "$dir/has"
check "where all is there nothing is done" packages 7
check "... and nothing said" [ ! -s "$dir/err" ]

# units, as systemd reads them: it has nothing to say
if command -v systemd-analyze >/dev/null; then
    mkdir -m 700 "$dir/units"
    for unit in sternad sternad-directory sterna-agent; do
        sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' "$top/deploy/systemd/$unit.service.in" >"$dir/units/$unit.service"
        user=
        [ $unit != sterna-agent ] || user=--user
        check "$unit.service is read" ok env XDG_RUNTIME_DIR="$dir/units" systemd-analyze $user --recursive-errors=no verify "$dir/units/$unit.service"
        check "... without a word" [ "$(grep -c "$dir/units/" "$dir/err")" = 0 ] # what others are told of is not ours
    done
else
    echo "skipped: units (no systemd)"
fi
passed
