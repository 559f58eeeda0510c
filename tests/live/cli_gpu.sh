#!/bin/sh
# Training and evaluation on a GPU that fails: where nobody has asked for it the processor goes on, and warns so; where somebody has it is an error.
#   cli_gpu.sh STERNA TOP
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 model=$2/deploy/models/home-base.gguf
export STERNA_CACHE="$dir"

train() { # an exit code, words of STERNA_VULKAN, a backend, the adapter, options
    wanted=$1 words=$2 backend=$3 out=$4
    shift 4
    ends "$wanted" env STERNA_VULKAN="$words" "$sterna" train -m "$model" -d "$dir/data.jsonl" -o "$dir/$out" --steps 6 --batch-tokens 64 --ctx 32 \
        --backend "$backend" --threads 1 --json "$@"
}

steps() { # of a file of metrics
    sed -n 's/.*"step": \([0-9]*\),.*/\1/p' "$1" | tr '\n' ' '
}

evaluate() { # an exit code, words of STERNA_VULKAN, a backend
    ends "$1" env STERNA_VULKAN="$2" "$sterna" eval -m "$model" -d "$dir/data.jsonl" --ctx 32 --backend "$3" --threads 1 --json
}

warns() { # words of the one line on stderr
    [ "$(wc -l <"$dir/err")" -eq 1 ] && grep -q "$1" "$dir/err"
}

i=0
while [ $i -lt 12 ]; do
    echo "{\"prompt\": \"lamp in room $i ->\", \"completion\": \" on lamp\"}"
    i=$((i + 1))
done >"$dir/data.jsonl"

check "the processor trains" train 0 "" cpu cpu.gguf --checkpoint "$dir/cpu" --checkpoint-steps 2
check "what the processor has no memory for it does not try again" sh -c 'ulimit -v 180000 && ! "$2" train -m "$3" -d "$1/data.jsonl" \
    -o "$1/none.gguf" --steps 6 --batch-tokens 64 --ctx 32 --backend auto --rank 1024 --threads 1 --resume "$1/cpu" 2>"$1/err"' - "$dir" "$sterna" "$model"
check "and says so once" warns '^error: no memory for '
if ! STERNA_VULKAN=emulated "$sterna" bench devices | grep -q '^vulkan *0'; then
    echo "skipped: there is no GPU, and nobody plays one"
    passed
    exit 0
fi
check "what is faster is found out" train 0 emulated auto any.gguf
check "and kept" sh -c 'echo "vulkan 2 1" >"$(ls "$1"/backend-*)"' - "$dir"
check "the GPU trains where it is faster" train 0 emulated auto gpu.gguf --checkpoint "$dir/gpu" --checkpoint-steps 2
check "as it says" grep -q '"backend": "vulkan"' "$dir/out"

# a step is two submissions, its gradients and AdamW
check "a GPU that is lost is no end" train 0 emulated,lost=1 auto a.gguf
check "that is said" warns 'level=warn event=fell_back_to_cpu code=io text=".*the device was lost during a step"'
check "in the result too" grep -q '"backend": "cpu".*"fell_back": ".*the device was lost during a step"' "$dir/out"
check "nothing else is different" cmp "$dir/cpu.gguf" "$dir/a.gguf"
check "one without memory is no end" train 0 emulated,oom=2 auto b.gguf
check "that is said" warns 'event=fell_back_to_cpu code=memory text=".*no memory for [0-9]* bytes of .*"'
check "nothing else is different" cmp "$dir/cpu.gguf" "$dir/b.gguf"
check "lost in its fifth step" train 0 emulated,lost=9 auto c.gguf --checkpoint "$dir/c" --checkpoint-steps 2 --metrics "$dir/metrics"
check "it goes on" warns 'event=fell_back_to_cpu'
same "from the last checkpoint, the fourth step's" "1 2 3 4 5 6 " "$(steps "$dir/metrics")"
check "with what the GPU has learned" sh -c '! cmp -s "$1/cpu.gguf" "$1/c.gguf"' - "$dir"

check "a run that fell back is gone on with where it was" train 0 emulated auto c2.gguf --resume "$dir/c"
check "on the processor" says '"backend": "cpu"'
check "and ends the same" cmp "$dir/c.gguf" "$dir/c2.gguf"
check "but not where a GPU is asked for" train 1 "" vulkan x.gguf --resume "$dir/c"
check "that is said" warns '^error: .*the checkpoint is of another run: it has backend=cpu, this run backend=vulkan'
check "each of several falls back" train 0 emulated,lost=9 auto f1.gguf --checkpoint "$dir/f" --checkpoint-steps 2 --metrics "$dir/both" \
    "$dir/data.jsonl" "$dir/f2.gguf"
same "each says so" 2 "$(grep -c fell_back_to_cpu "$dir/err")"
same "the first from its checkpoint" "1 2 3 4 5 6 " "$(steps "$dir/both")"
same "the second from its own" "1 2 3 4 5 6 " "$(steps "$dir/both.2")"
check "both are what one alone is" cmp "$dir/c.gguf" "$dir/f1.gguf"
check "each for itself" cmp "$dir/c.gguf" "$dir/f2.gguf"

check "a GPU that was asked for and is lost is an error" train 1 emulated,lost=9 vulkan d.gguf --checkpoint "$dir/d" --checkpoint-steps 2
check "that is said" warns "^error: .*the device was lost during a step"
check "no adapter is written" test ! -e "$dir/d.gguf"
cp -r "$dir/d" "$dir/g"
cp -r "$dir/d" "$dir/h"
check "a GPU that cannot even begin is no end of its checkpoint" train 0 emulated,oom=2 auto g.gguf --resume "$dir/g"
check "that is said" warns 'event=fell_back_to_cpu code=memory'
check "the processor does the rest" says '"backend": "cpu".*"fell_back": "'
check "one that is lost in its first step is none either" train 0 emulated,lost=1 auto h.gguf --resume "$dir/h"
check "the processor does the same of what the GPU has learned" cmp "$dir/h.gguf" "$dir/g.gguf"
check "the checkpoint is whole" train 0 emulated vulkan d.gguf --resume "$dir/d"
check "and ends as if nothing had happened" cmp "$dir/gpu.gguf" "$dir/d.gguf"
check "one without memory is an error" train 1 memory=1 vulkan e.gguf
check "that is said" warns "^error: .*no memory for [0-9]* bytes of .*"

check "the processor evaluates" evaluate 0 "" cpu
loss=$(number loss)
check "the GPU evaluates where it is faster" evaluate 0 emulated auto
check "as it says" says '"backend": "vulkan"'
for words in lost=1 broken=1 oom=2; do
    check "a GPU that fails ($words) is no end" evaluate 0 emulated,$words auto
    check "that is said" warns 'level=warn event=fell_back_to_cpu code=[a-z]* text=".*\(the device was lost\|no memory for\) .*"'
    check "in the result too" says '"backend": "cpu".*"fell_back": "'
    same "the loss is the processor's" "$loss" "$(number loss)"
done
check "a GPU that was asked for and is lost is an error" evaluate 1 lost=1 vulkan
check "that is said" warns "^error: .*the device was lost during a step"
check "for a GPU that was asked for" evaluate 0 "" vulkan
check "the processor packs no weights" says '"streams": true'
passed
