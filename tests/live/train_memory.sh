#!/bin/sh
# What `sterna train` takes is what its plan says, and stays within --memory-limit, from all that is wanted down to the least.
#   train_memory.sh STERNA TOP
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 vocab=$2/deploy/models/home-base.gguf

train() { # an adapter's name, then options
    out=$1
    shift
    STERNA_CACHE="${STERNA_TEST_CACHE-$dir/cache}" "$sterna" train -m "$dir/model.gguf" -d "$dir/data.jsonl" -o "$dir/$out" --batch-tokens 512 --ctx 64 \
        --steps 2 --threads 2 --backend cpu --validation-share 0.1 --json "$@" >"$dir/out" 2>"$dir/err" </dev/null
}

refuses() { # as train
    ! train "$@" && [ ! -e "$dir/$1" ]
}

planned() {
    echo $(($(number weights_bytes) + $(number activations_bytes) + $(number optimiser_bytes) + $(number scratch_bytes) + $(number base_bytes)))
}

keeps() { # to its plan, and to a limit
    [ "$(number peak_rss_bytes)" -le "$(planned)" ] && [ "$(planned)" -le "$1" ]
}

i=0
while [ $i -lt 60 ]; do
    echo "{\"prompt\": \"turn the lamp in room $i on and the fan in room $((i + 1)) off ->\", \"completion\": \" on lamp room $((i * 7 % 40))\"}"
    i=$((i + 1))
done >"$dir/data.jsonl"
"$sterna" model random --shape 125m --layers 5 --type tq1_0 --vocab "$vocab" --seed 1 -o "$dir/model.gguf" >"$dir/out" 2>"$dir/err"
check "trains without a limit" train a.gguf
check "within its plan" keeps 99999999999
check "with everything kept" test "$(number recompute_layers)" -eq 0
all=$(planned) activations=$(number activations_bytes)
n_layers=0
for tenths in 9 6 3; do
    limit=$((all - activations + activations * tenths / 10))
    check "a limit at $tenths tenths of the activations" train b.gguf --memory-limit "$limit"
    check "is kept" keeps "$limit"
    check "by more layers computed again" test "$(number recompute_layers)" -gt "$n_layers"
    check "in whole passes" test "$(number pass_tokens)" -eq 256
    check "to the same adapter" cmp "$dir/a.gguf" "$dir/b.gguf"
    n_layers=$(number recompute_layers)
done
check "too small a limit is an error" refuses c.gguf --memory-limit 1M
check "of one line" test "$(wc -l <"$dir/err")" -eq 1
least=$(sed -n 's/^error: at least \([0-9]*\)M are needed .*the limit is 1.0 MiB.*/\1/p' "$dir/err")
check "that says what would do" test -n "$least"
check "and that does" train c.gguf --memory-limit "${least}M"
check "within the limit" keeps $((least * 1048576))
check "with weights streamed" grep -q '"streams": true' "$dir/out"
check "in small passes" test "$(number pass_tokens)" -lt 256
check "a checkpoint is in the plan" train g.gguf --checkpoint "$dir/kept"
check "and kept to" keeps 99999999999
check "and taken up again" train g.gguf --resume "$dir/kept"
check "within the plan as well" keeps 99999999999
check "to the same adapter" cmp "$dir/a.gguf" "$dir/g.gguf"
# no folder for packed weights: they are packed anew from the model's file for each use
export STERNA_TEST_CACHE=
check "so much is too little" refuses e.gguf --memory-limit 1M
own=$(sed -n 's/^error: at least \([0-9]*\)M are needed .*/\1/p' "$dir/err")
check "the least is said" test -n "$own"
check "and does" train e.gguf --memory-limit "${own}M" --pass-tokens 60
check "within the limit" keeps $((own * 1048576))
check "with weights streamed" grep -q '"streams": true' "$dir/out"
check "which with all memory there is" train f.gguf --pass-tokens "$(number pass_tokens)"
check "is kept to the plan" keeps 99999999999
check "and gives the same adapter" cmp "$dir/e.gguf" "$dir/f.gguf"
unset STERNA_TEST_CACHE
check "less does not" refuses d.gguf --memory-limit $((least - 4))M
passed
