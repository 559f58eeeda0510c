#!/bin/sh
# bench train and bench infer as scripts use them: one JSON object with the promised keys, a random model that leaves no
# file behind, steps that allocate nothing.
#   cli_bench.sh STERNA TOP
set -eu
sterna=$1 model=$2/deploy/models/home-base.gguf
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/tmp"
n_checks=0

check() { # what was claimed, then a command
    claim=$1
    shift
    if ! "$@"; then
        echo "failed: $claim"
        sed 's/^/  /' "$dir/out" "$dir/err" || true
        exit 1
    fi
    n_checks=$((n_checks + 1))
}

ends() { # an exit code, then a command line
    wanted=$1
    shift
    code=0
    TMPDIR="$dir/tmp" STERNA_MODELS=$(dirname "$model") "$sterna" "$@" >"$dir/out" 2>"$dir/err" </dev/null || code=$?
    [ $code -eq "$wanted" ]
}

is_object() { # stdout is one line that begins and ends as an object does, stderr is empty
    [ "$(wc -l <"$dir/out")" -eq 1 ] && grep -q '^{.*}$' "$dir/out" && [ ! -s "$dir/err" ]
}

has() { # all these keys, and each is a number
    for key in "$@"; do
        grep -q "\"$key\": [0-9]" "$dir/out" || return 1
    done
}

number() {
    sed "s/.*\"$1\": \([0-9.e+-]*\).*/\1/" "$dir/out"
}

less() { # by awk, for fractions
    awk "BEGIN { exit !($1 < $2) }"
}

check "bench train runs on a random model" ends 0 bench train --shape tiny --ctx 32 --tokens 64 --steps 3 --threads 2 --json
check "says so in one object" is_object
check "with the promised keys" has tokens_per_s ms_per_step peak_rss_bytes device_bytes loss_first loss_last peak_fraction
check "beside the machine's own" has integer_dot_gmac_per_s f32_gmac_per_s memory_gb_per_s ternary_forward_fraction
check "learns what it repeats" less "$(number loss_last)" "$(number loss_first)"
check "allocates nothing in a step" grep -q '"allocations": 0,' "$dir/out"
check "stays below the peak" less "$(number peak_fraction)" 1
check "leaves no file behind" test -z "$(ls -A "$dir/tmp")"
check "bench train measures a given model, exact, computed twice" ends 0 bench train -m "$model" --ctx 32 --tokens 64 --steps 2 \
    --backward exact --recompute --json
check "by its name" grep -q '"model": "home-base.gguf"' "$dir/out"
check "a step of broken examples is refused" ends 1 bench train --shape tiny --ctx 32 --tokens 40
check "with its numbers" grep -q "error: --tokens 40 are no whole number of examples of --ctx 32" "$dir/err"
check "bench infer runs" ends 0 bench infer -m "$model" --prompt 64 -n 16 --json
check "in one object" is_object
check "with the promised keys" has prefill_tokens_per_s decode_tokens_per_s peak_rss_bytes decode_memory_fraction
check "a missing model is an error" ends 1 bench infer -m /nowhere.gguf
echo "100%: Checks: $n_checks, Failures: 0, Errors: 0"
