#!/bin/sh
# bench train, infer, secagg, wire and coordinator as scripts use them: one JSON object with the promised keys, a random model that leaves no
# file behind, steps that allocate nothing.
#   cli_bench.sh STERNA TOP
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 model=$2/deploy/models/home-base.gguf
mkdir "$dir/tmp"
STERNA_MODELS=$(dirname "$model") TMPDIR=$dir/tmp
export STERNA_MODELS TMPDIR

has() { # all these keys, and each is a number
    for key in "$@"; do
        grep -q "\"$key\": [0-9]" "$dir/out" || return 1
    done
}

check "bench train runs on a random model" ok "$sterna" bench train --shape tiny --ctx 32 --tokens 64 --steps 3 --threads 2 --json
check "says so in one object" is_object
check "with the promised keys" has tokens_per_s ms_per_step peak_rss_bytes device_bytes loss_first loss_last peak_fraction
check "beside the machine's own" has integer_dot_gmac_per_s f32_gmac_per_s memory_gb_per_s ternary_forward_fraction
check "learns what it repeats" holds "$(number loss_last) < $(number loss_first)"
check "allocates nothing in a step" grep -q '"allocations": 0,' "$dir/out"
check "stays below the peak" holds "$(number peak_fraction) < 1"
check "leaves no file behind" test -z "$(ls -A "$dir/tmp")"
parameters=$(number ternary_parameters)
check "bench roofline counts a step without computing it" ok "$sterna" bench roofline --shape tiny --ctx 32 --tokens 64 --json
check "in one object" is_object
forward=$(sed 's/.*"ternary": {[^}]*"int8_macs": \([0-9.e+]*\).*/\1/' "$dir/out")
check "a multiplication for each weight and token" awk "BEGIN { exit !($forward == 64 * $parameters) }"
check "as a table too" ok "$sterna" bench roofline --shape tiny --tokens 64
check "with a line for each op" grep -q '^| attention_back |' "$dir/out"
if "$sterna" bench devices | grep -q '^vulkan *0'; then
    check "a step is counted" ok "$sterna" bench roofline --shape tiny --ctx 16 --tokens 16 --json
    counted=$(sed 's/.*"ternary": {[^}]*"int8_macs": \([0-9.e+]*\).*/\1/' "$dir/out")
    check "bench train on a device" ok "$sterna" bench train --shape tiny --ctx 16 --tokens 16 --steps 1 --backend vulkan --profile --json
    of() { # a number of an op's profile
        sed "s/.*\"profile\": .*\"$1\": {[^}]*\"$2\": \([0-9.e+-]*\).*/\1/" "$dir/out"
    }
    share="$(of ternary int8_gmac) * 1e9 / $counted"
    check "beside its times stands what is counted" holds "0.999999 < $share && $share < 1.000001 && $(of ternary ms) > 0 && $(of loss mb) > 0"
    check "and what fraction an op is of what the device can do" holds "0 < $(of ternary_back peak_fraction)"
    check "moves nothing in a step" grep -q '"transfers": 0,' "$dir/out"
    check "says what it multiplies with, and what the device can do" has submissions_per_step planned_bytes f32_gmac_per_s
    check "and what fraction of that it does" holds "0 < $(number peak_fraction)"
    check "bench infer on a device" ok "$sterna" bench infer -m "$model" --prompt 16 -n 4 --backend vulkan --json
    check "says how fast the device's memory is" says '"gpu": .*"memory_gb_per_s": [0-9.]*[1-9]'
    check "what fraction of that it reads" holds "0 < $(number decode_memory_fraction)"
    bytes=$(number decode_bytes_per_token)
    check "and as many bytes a token" ok "$sterna" bench infer -m "$model" --prompt 16 -n 4 --json
    check "as the processor, but for what is rounded to whole words" holds "$bytes < 1.02 * $(number decode_bytes_per_token) && $(number decode_bytes_per_token) < 1.02 * $bytes"
fi
check "bench train measures a given model, exact, computed twice" ok "$sterna" bench train -m "$model" --ctx 32 --tokens 64 --steps 2 \
    --backward exact --recompute --json
check "by its name" grep -q '"model": "home-base.gguf"' "$dir/out"
check "a step of broken examples is refused" ends 2 "$sterna" bench train --shape tiny --ctx 32 --tokens 40
check "with its numbers" grep -q "error: --tokens 40 are no whole number of examples of --ctx 32" "$dir/err"
check "and passes shorter than an example" ends 2 "$sterna" bench train --shape tiny --ctx 32 --tokens 64 --pass-tokens 16
check "bench infer runs" ok "$sterna" bench infer -m "$model" --prompt 64 -n 16 --json
check "in one object" is_object
check "with the promised keys" has prefill_tokens_per_s decode_tokens_per_s peak_rss_bytes decode_memory_fraction
check "a missing model is an error" ends 1 "$sterna" bench infer -m /nowhere.gguf
secagg="bench secagg --clients 24 --params 5000 --dropout 0.1 --threads 2 --json"
check "bench secagg runs a round with losses" ok "$sterna" $secagg
check "says so in one object" is_object
check "with the promised keys" has device_s server_unmask_s server_total_s wire_bytes_per_param server_rss_bytes sum_error \
    mask_bytes_per_s unmask_fraction server_unmask_cpu_s
check "the sum is the plain sum" grep -q '"sum_error": 0,' "$dir/out"
check "whose mean is the deltas'" holds "$(number mean_error) < 1e-5"
check "a small cohort's graph is complete" grep -q '"lost": 2, "k": 23, "t": 14,' "$dir/out"
removed=$(number masks_removed)
check "one mask a survivor comes off, and one for each pair with a lost one" test "$removed" -eq $((22 + 2 * 22))
check "with every mask in every upload" ok "$sterna" $secagg --full
check "the sum is the same" grep -q '"sum_error": 0,' "$dir/out"
check "and the coordinator's work" test "$(number masks_removed)" -eq "$removed"
check "bench secagg without a loss on one thread" ok "$sterna" bench secagg --clients 70 --params 300 --dropout 0 --threads 1 --json
check "takes off one mask each" grep -q '"masks_removed": 70,' "$dir/out"
check "and is right" grep -q '"sum_error": 0,' "$dir/out"
check "a round beyond the bound is void" ends 1 "$sterna" bench secagg --clients 100 --params 300 --dropout 0.4 --json
check "in one line that says why" grep -q "^error: a device leaves the round, in which 40 of 100 are lost: limit$" "$dir/err"
check "fewer members than a graph takes are wrong usage" ends 2 "$sterna" bench secagg --clients 4 --params 300 --json
check "bench wire runs" ok "$sterna" bench wire --seconds 0.2 --json
check "says so in one object" is_object
check "with its keys" has handshakes_per_s requests_per_s bytes_per_s loopback_round_trip_s loopback_bytes_per_s
check "a handshake takes longer than a request" holds "$(number request_cpu_s) < $(number handshake_cpu_s)"
coordinator="bench coordinator --clients 5 --params 1000 --rounds 2 --secure off"
check "bench coordinator runs rounds of a real one, on a disk and in memory" ok "$sterna" $coordinator --floor --json
check "says so in one object" is_object
check "with the promised keys" has round_s updates_per_s bytes_per_s server_rss_bytes server_cpu_s_per_update floor_round_s \
    server_sync_s_per_round device_cpu_s_per_update
check "in every round is every device" grep -q '"updates": 10, .*"updates": 10, .*"updates": 10, ' "$dir/out"
check "of the adapter that comes closest" grep -q '"params": 1024, ' "$dir/out"
check "and of the state in memory" grep -q '"tmpfs": {"round_s": [0-9]' "$dir/out"
check "leaves no file behind" test -z "$(ls -A "$dir/tmp")"
check "secure rounds, too" ok "$sterna" bench coordinator --clients 6 --params 3000 --rounds 2 --secure on --dir "$dir/tmp" --json
check "have every device in them" grep -q '"updates": 12, ' "$dir/out"
check "take a message more for every stage" holds "12 < $(number requests_per_update)"
check "the state may be anywhere" ok "$sterna" $coordinator --dir "$dir/tmp" --json
check "and is then nowhere else" sh -c '! grep -q tmpfs\": "$1"' - "$dir/out"
check "a coordinator that is none is named" ends 1 "$sterna" $coordinator --sternad /nowhere
check "with what to do" grep -q "^error: /nowhere is no program: say --sternad PATH$" "$dir/err"
check "fewer devices than a round takes are wrong usage" ends 2 "$sterna" bench coordinator --clients 4
passed
