#!/usr/bin/env bash
# Installs what is missing, builds, and passes every test: the plain build, AddressSanitizer with UBSan, and
# ThreadSanitizer; what depends on the processor also runs as 64-bit ARM under qemu-user, where that can be had.
# `--full` runs the long suites too (2000 swarm worlds of each kind, long fuzzing). The last line counts every check that ran.
set -u
cd "$(dirname "$0")/.." || exit 1
full=no
[ "${1:-}" = --full ] && full=yes
bash deploy/packages.sh || exit 1
if [ $full = yes ]; then
    export STERNA_SWARM_SEEDS=${STERNA_SWARM_SEEDS:-2000} STERNA_FUZZ_RUNS=${STERNA_FUZZ_RUNS:-100000} STERNA_FULL=1
fi
[ -d ../shared ] || echo "skipped where needed: ../shared (recorded vectors, vocabularies and data) is not there"
status=0

# run FOLDER "SUITES" TARGET "MESON OPTIONS"
run() {
    echo "== $1"
    # shellcheck disable=SC2086
    STERNA_TARGET=$3 bash deploy/build.sh "$1" $4 || { status=1; echo "error: $1 does not build"; return; }
    suites=""
    for s in $2; do suites="$suites --suite $s"; done
    rm -f "$1/meson-logs/testlog.json"
    # one more than there are processors: live tests wait as long as they work
    # shellcheck disable=SC2086
    meson test -C "$1" --no-rebuild --num-processes $(($(nproc) + 1)) --timeout-multiplier "${STERNA_TIMEOUTS:-3}" $suites || status=1
    logs="$logs $1/meson-logs/testlog.json"
}

# what this needs is fetched while the first tree is built
arm64=$(mktemp)
trap 'rm -f "$arm64"' EXIT
if [ "$(uname -m)" = x86_64 ]; then
    bash deploy/packages.sh arm64 >"$arm64" 2>&1 &
    packages=$!
fi

logs=""
run build "unit compute story swarm live lint" all "-Dwerror=true"
# the plain build has -Werror; what sanitizers add makes compilers warn of other things. They take long to compile, and lines are
# all that a report has to name. What runs under ThreadSanitizer needs no GPU
sanitizers="-Db_lundef=false -Dc_args=-g1"
run build-asan "unit compute story swarm live fuzz" all "-Db_sanitize=address,undefined $sanitizers"
run build-tsan "threads" threads "-Db_sanitize=thread -Dvulkan=disabled $sanitizers"
if [ -n "${packages:-}" ] && wait "$packages"; then
    run build-arm64 "processors" processors "--cross-file deploy/aarch64.ini -Dvulkan=disabled -Dwerror=true -Dc_args=-g0"
else
    cat "$arm64"
    echo "skipped: the tests on an emulated 64-bit ARM (they want x86-64, qemu-user, a cross compiler and arm64 packages from apt-get)"
fi
# shellcheck disable=SC2086
python3 tests/lib/count.py $logs || status=1
exit $status
