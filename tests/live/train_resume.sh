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

command_of() { # an adapter's name, then more options: the whole command, put in its place
    out=$1
    shift
    exec "$sterna" train -m "$top/deploy/models/home-base.gguf" -d "$dir/data.jsonl" -o "$dir/$out" --seed 3 --threads 1 --backend cpu \
        --lr 1e-3 --epochs 20 --batch-tokens 128 --dropout 0.1 --validation-share 0.1 --validation-steps 7 --patience 1000 \
        --metrics "$dir/$out.metrics" "$@" >"$dir/log" 2>&1
}

train() {
    (command_of "$@")
}

start() {
    command_of "$@" &
    pid=$! pids=$!
}

# The process goes on for a moment at a time until the command is true, and stands still then: what is done to it next finds
# it there, however fast or loaded the machine is.
stands_when() {
    n=0
    kill -STOP "$pid"
    while ! "$@" && [ $n -lt 3000 ]; do
        kill -CONT "$pid" 2>/dev/null || return 1
        sleep 0.01
        kill -STOP "$pid" 2>/dev/null || return 1
        n=$((n + 1))
    done
    [ $n -lt 3000 ]
}

has_steps() { # of them, at least, and a checkpoint
    [ -e "$dir/kept/checkpoint" ] && [ "$(wc -l <"$dir/killed.gguf.metrics")" -ge "$1" ]
}

check "a whole run ends well" train whole.gguf

# killed again and again, each time a little later
for steps in 1 20 60; do
    if [ -e "$dir/kept/checkpoint" ]; then resume="--resume $dir/kept"; else resume=; fi
    # shellcheck disable=SC2086
    start killed.gguf --checkpoint "$dir/kept" --checkpoint-steps 1 $resume
    check "a run comes to step $steps" stands_when has_steps $steps
    killed "$pid"
    pids=
done
check "a killed run has left a checkpoint" test -e "$dir/kept/checkpoint"
check "a killed run has left no adapter" test ! -e "$dir/killed.gguf"
check "the run goes on from the checkpoint" train killed.gguf --resume "$dir/kept"
check "and ends as if it had never been killed" cmp "$dir/whole.gguf" "$dir/killed.gguf"
for name in whole killed; do sed 's/, "wall_s.*//' "$dir/$name.gguf.metrics" >"$dir/$name.steps"; done
check "with every step in its metrics once" cmp "$dir/whole.steps" "$dir/killed.steps"

# stopped by a signal: a clean end that keeps what was done
start stopped.gguf --checkpoint "$dir/stop" --checkpoint-steps 1
check "a run writes a checkpoint" stands_when [ -e "$dir/stop/checkpoint" ]
kill -INT "$pid"
kill -CONT "$pid"
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
