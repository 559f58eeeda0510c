#!/usr/bin/env bash
# The Vulkan suites and benches on a machine that has a GPU and its driver, and nothing else that is needed:
#   tests/gpu.sh pack BUILD FOLDER    here: puts the programs, their libraries and the model into FOLDER
#   FOLDER/gpu.sh run [SHAPES]        there: tests, then `sterna bench` for each shape (125m xl); one JSON line a bench
set -eu

pack() {
    build=$1 folder=$2
    mkdir -p "$folder/bin" "$folder/lib" "$folder/deploy/models"
    cp "$build"/tests/compute/test_compute_vulkan_{ops,ops_attention,kernels,products,proof,network,memory} "$build/client/sterna" "$folder/bin/"
    strip "$folder"/bin/* # it is carried
    cp "$(dirname "$0")/../deploy/models/home-base.gguf" "$folder/deploy/models/"
    # the 32,000 words of docs/vulkan.md's counts, where they are at hand
    vocab=$(dirname "$0")/../../shared/models/vocab-llama-spm.gguf
    [ ! -f "$vocab" ] || cp "$vocab" "$folder/vocab.gguf"
    cp "$0" "$folder/gpu.sh"
    # the C library and the loader belong to the driver's machine
    ldd "$folder"/bin/* | awk '$3 ~ /^\// {print $3}' | sort -u |
        grep -vE '/(libc|libm|libdl|libpthread|librt|libresolv|ld-linux[^/]*)\.so' | xargs -I{} cp -L {} "$folder/lib/"
}

# One pass for the whole step, as a strong card wants it; where there is no memory for it, as `train` does it.
train() {
    shape=$1 tokens=$2
    set -- "$here/bin/sterna" bench train --shape "$shape" ${vocab:+--vocab "$vocab"} --ctx 128 --tokens "$tokens" --backend vulkan --profile --json
    "$@" --pass-tokens "$tokens" || "$@"
}

run() {
    here=$(cd "$(dirname "$0")" && pwd)
    export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" STERNA_SOURCE="$here" STERNA_SHARED="$here"
    export STERNA_CACHE="${STERNA_CACHE:-/tmp}" STERNA_NO_VALIDATION=1
    status=0 vocab=$here/vocab.gguf
    [ -f "$vocab" ] || vocab=
    "$here/bin/sterna" bench devices
    for words in "" floor staged; do
        for program in "$here"/bin/test_compute_vulkan_*; do
            echo "== $(basename "$program") $words"
            STERNA_VULKAN=$words "$program" || status=1
        done
    done
    for shape in "${@:-125m}"; do
        for tokens in 128 512 2048; do
            train "$shape" "$tokens" || status=1
        done
        "$here/bin/sterna" bench infer --shape "$shape" ${vocab:+--vocab "$vocab"} --backend vulkan --json || status=1
    done
    # the head in plain f32, if it was by matrices
    STERNA_VULKAN=emulated,without=linear_matrix,without=spread_matrix train "${1:-125m}" 2048 || true
    # the kernels of the ternary product one after the other, the best barred first
    words=emulated
    for kernel in matrix_i8 matrix_f16 dot8 f16; do
        words="$words,without=ternary_$kernel,without=ternary_back_$kernel"
        STERNA_VULKAN=$words train "${1:-125m}" 2048 || break # this build has no such kernel
    done
    exit $status
}

case "${1:-}" in
    pack) [ $# = 3 ] || { sed -n 2,4p "$0"; exit 2; }; pack "$2" "$3" ;;
    run) shift; run "$@" ;;
    *) sed -n 2,4p "$0"; exit 2 ;;
esac
