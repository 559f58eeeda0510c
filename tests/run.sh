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

# run FOLDER "SUITES" "MESON OPTIONS"
run() {
    echo "== $1"
    # shellcheck disable=SC2086
    bash deploy/build.sh "$1" $3 || { status=1; echo "error: $1 does not build"; return; }
    suites=""
    for s in $2; do suites="$suites --suite $s"; done
    rm -f "$1/meson-logs/testlog.json"
    # shellcheck disable=SC2086
    meson test -C "$1" --no-rebuild --num-processes 2 --timeout-multiplier "${STERNA_TIMEOUTS:-3}" $suites || status=1
    logs="$logs $1/meson-logs/testlog.json"
}

logs=""
run build "unit compute story swarm live lint" "-Dwerror=true"
# the plain build has -Werror; what sanitizers add makes compilers warn of other things
run build-asan "unit compute story swarm live fuzz" "-Db_sanitize=address,undefined -Db_lundef=false"
run build-tsan "threads" "-Db_sanitize=thread -Db_lundef=false"
if [ "$(uname -m)" = x86_64 ] && bash deploy/packages.sh arm64; then
    run build-arm64 "processors" "--cross-file deploy/aarch64.ini -Dvulkan=disabled -Dwerror=true"
else
    echo "skipped: the tests on an emulated 64-bit ARM (they want x86-64, qemu-user, a cross compiler and arm64 packages from apt-get)"
fi
# shellcheck disable=SC2086
python3 tests/lib/count.py $logs || status=1
exit $status
