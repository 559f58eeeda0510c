#!/bin/sh
# A training run that is killed and taken up again ends with the very bytes of one that never stopped.
#   train_resume.sh STERNA TOP
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 top=$2
logs=log

i=0
while [ $i -lt 48 ]; do
    echo "{\"prompt\": \"turn the lamp in room $i on ->\", \"completion\": \" on lamp room $((i * 7 % 48))\"}"
    i=$((i + 1))
done >"$dir/data.jsonl"

train() { # an adapter's name, then more options
    out=$1
    shift
    "$sterna" train -m "$top/deploy/models/home-base.gguf" -d "$dir/data.jsonl" -o "$dir/$out" --seed 3 --threads 1 --backend cpu \
        --lr 1e-3 --epochs 20 --batch-tokens 128 --dropout 0.1 --validation-share 0.1 --validation-steps 7 --patience 1000 \
        --metrics "$dir/$out.metrics" "$@" >"$dir/log" 2>&1
}

wait_for() { # a file, or the end of the run
    n=0
    while [ ! -e "$1" ] && kill -0 "$pid" 2>/dev/null && [ $n -lt 600 ]; do
        sleep 0.05
        n=$((n + 1))
    done
}

check "a whole run ends well" train whole.gguf

# killed again and again, each time a little later
for delay in 0 0.1 0.3; do
    if [ -e "$dir/kept/checkpoint" ]; then resume="--resume $dir/kept"; else resume=; fi
    # shellcheck disable=SC2086
    train killed.gguf --checkpoint "$dir/kept" --checkpoint-steps 1 $resume &
    pid=$! pids=$!
    wait_for "$dir/kept/checkpoint"
    sleep $delay
    # the shell that waits for sterna is $pid; sterna is its child
    child=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null || true)
    [ -z "$child" ] || kill -9 $child 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pids=
done
check "a killed run has left a checkpoint" test -e "$dir/kept/checkpoint"
check "a killed run has left no adapter" test ! -e "$dir/killed.gguf"
check "the run goes on from the checkpoint" train killed.gguf --resume "$dir/kept"
check "and ends as if it had never been killed" cmp "$dir/whole.gguf" "$dir/killed.gguf"
for name in whole killed; do sed 's/, "wall_s.*//' "$dir/$name.gguf.metrics" >"$dir/$name.steps"; done
check "with every step in its metrics once" cmp "$dir/whole.steps" "$dir/killed.steps"

# stopped by a signal: a clean end that keeps what was done
train stopped.gguf --checkpoint "$dir/stop" --checkpoint-steps 1 &
pid=$! pids=$!
wait_for "$dir/stop/checkpoint"
child=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null || true)
[ -z "$child" ] || kill -INT $child 2>/dev/null || true
code=0
wait "$pid" || code=$?
pids=
check "a run that is asked to stop ends well" test $code -eq 0
check "and keeps its adapter" test -s "$dir/stopped.gguf"
check "and says where it stopped" grep -q "(stopped)" "$dir/log"
check "it goes on too" train stopped.gguf --resume "$dir/stop"
check "and ends as the whole run" cmp "$dir/whole.gguf" "$dir/stopped.gguf"
sed 's/, "wall_s.*//' "$dir/stopped.gguf.metrics" >"$dir/stopped.steps"
check "with the same steps and evaluations in its metrics" cmp "$dir/whole.steps" "$dir/stopped.steps"

# what is not this run is refused
refuses() { # words of the error, then options
    words=$1
    shift
    ! train other.gguf "$@" && grep -q "$words" "$dir/log" && test ! -e "$dir/other.gguf"
}
check "another dropout is refused" refuses "it has dropout=0.1" --resume "$dir/kept" --dropout 0.2
check "another patience is refused" refuses "it has patience=1000" --resume "$dir/kept" --patience 5
check "another rate is refused" refuses "it has lr=" --resume "$dir/kept" --lr 1e-2
echo '{"text": "one more"}' >>"$dir/data.jsonl"
check "other data are refused" refuses "it has data=" --resume "$dir/kept"
check "a folder without a checkpoint is refused" refuses "no checkpoint" --resume "$dir"
passed
