#!/bin/sh
# The command line of train, eval, generate and data check, as scripts use it: exit codes, one error line, JSON alone
# on stdout, the same seed the same text.
#   cli_train.sh STERNA TOP
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 model=$2/deploy/models/home-base.gguf

complains() { # an exit code, words of the error, then a command line: nothing on stdout, one line on stderr
    wrong=$1 piece=$2
    shift 2
    fails "$wrong" "$piece" "$sterna" "$@" && [ ! -s "$dir/out" ]
}

i=0
while [ $i -lt 24 ]; do
    echo "{\"prompt\": \"lamp in room $i ->\", \"completion\": \" on lamp\", \"home\": \"h$((i % 3))\"}"
    i=$((i + 1))
done >"$dir/good.jsonl"
{ cat "$dir/good.jsonl"; echo '{"prompt": "no answer"}'; } >"$dir/bad.jsonl"

check "train without its options is wrong usage" ends 2 "$sterna" train
check "an option's word that is none is wrong usage" ends 2 "$sterna" train -m "$model" -d "$dir/good.jsonl" -o "$dir/a" --schedule step
check "targets that are none are wrong usage" complains 2 "q,k,v,o,gate,up,down" \
    train -m "$model" -d "$dir/good.jsonl" -o "$dir/a" --targets q,x
check "options that do not go together are wrong usage" complains 2 "give one" \
    train -m "$model" -d "$dir/good.jsonl" -o "$dir/a" --validation "$dir/good.jsonl" --validation-share 0.1
check "so are tokens that are no numbers" complains 2 "\"x\" is no whole number" logits -m "$model" --tokens 1,x -o "$dir/a"
check "so is a URL that is none" complains 2 "begins with sterna://" join foo
check "a missing model is named" complains 1 "/nowhere.gguf" train -m /nowhere.gguf -d "$dir/good.jsonl" -o "$dir/a"
check "missing data are named" complains 1 "/nowhere.jsonl" train -m "$model" -d /nowhere.jsonl -o "$dir/a"
check "a folder that is not there is found out first" complains 1 "cannot be written" train -m "$model" -d "$dir/good.jsonl" -o "$dir/no/a"
check "a broken line has its number" complains 1 "line 25: \"completion\" is missing" train -m "$model" -d "$dir/bad.jsonl" -o "$dir/a"
check "too little memory is said with the plan" complains 1 "are needed.*the limit is 4.0 MiB" \
    train -m "$model" -d "$dir/good.jsonl" -o "$dir/a" --memory-limit 4M
export VK_ICD_FILENAMES=/nonexistent VK_DRIVER_FILES=/nonexistent
check "vulkan is refused where there is none" complains 1 "[Vv]ulkan" train -m "$model" -d "$dir/good.jsonl" -o "$dir/a" --backend vulkan
# and so it stays: what follows is the processor's
check "nothing was written so far" test ! -e "$dir/a"

check "train learns" ok "$sterna" train -m "$model" -d "$dir/bad.jsonl" -o "$dir/a.gguf" --skip-bad --epochs 30 --lr 5e-3 \
    --batch-tokens 128 --ctx 64 --metrics "$dir/metrics" --json
check "and says so in one object" is_object
check "with the counts" says '"examples": 24, "truncated": 0, "truncated_tokens": 0, "empty": 0, "skipped": 1'
check "and a line of metrics a step" test "$(wc -l <"$dir/metrics")" -eq "$(number steps)"
check "the plan is in it" says '"plan": {"weights_bytes": [0-9]*, "activations_bytes"'
check "without a limit all is kept" ok "$sterna" train -m "$model" -d "$dir/good.jsonl" -o "$dir/b.gguf" --steps 3 \
    --batch-tokens 1024 --ctx 64 --backend cpu --json
check "as it says" says '"recompute_layers": 0'
# a tenth of the activations less than it takes
limit=$(sed 's/.*"plan": {\([^}]*\)}.*/\1/' "$dir/out" | tr ',' '\n' | awk '/_bytes/ { n += $2 } /activations/ { n -= $2 / 10 } END { printf "%d", n }')
check "the plan is told first" sh -c '"$1" train -m "$2" -d "$3/good.jsonl" -o "$3/c.gguf" --steps 1 2>/dev/null | head -1 | grep -q "^plan "' \
    - "$sterna" "$model" "$dir"
check "a tight limit computes activations again" ok "$sterna" train -m "$model" -d "$dir/good.jsonl" -o "$dir/c.gguf" --steps 3 \
    --batch-tokens 1024 --ctx 64 --backend cpu --memory-limit "$limit" --json
check "as it says" says '"recompute_layers": [1-9]'
check "and gives the same adapter" cmp "$dir/b.gguf" "$dir/c.gguf"
check "eval of the base finds nothing right" ok "$sterna" eval -m "$model" -d "$dir/good.jsonl" --json
check "in one object" is_object
check "with an exact match of none" says '"exact_match": 0.0'
check "eval with the adapter finds all right" ok "$sterna" eval -m "$model" -a "$dir/a.gguf" -d "$dir/good.jsonl" --json
check "exactly" says '"exact_match": 1.0'
check "text has no exact match" ok "$sterna" eval -m "$model" -d "$2/tests/fuzz/corpus/jsonl/text.json" --json
check "but null" says '"exact_match": null'

check "train another rank" ok "$sterna" train -m "$model" -d "$dir/good.jsonl" -o "$dir/small.gguf" --steps 1 --rank 2
check "an adapter leaves as a PEFT folder" ok "$sterna" adapter export "$dir/a.gguf" "$dir/peft" --to peft --json
check "with a config and its weights" test -s "$dir/peft/adapter_config.json" -a -s "$dir/peft/adapter_model.safetensors"
check "and comes back" ok "$sterna" adapter import "$dir/peft" -o "$dir/back.gguf"
check "bit for bit" cmp "$dir/a.gguf" "$dir/back.gguf"
check "the mean of an adapter and itself" ok "$sterna" adapter average "$dir/a.gguf" "$dir/back.gguf" -o "$dir/mean.gguf"
check "is the same" sh -c '"$1" adapter diff "$2/a.gguf" "$2/mean.gguf" | grep -q "the same values"' - "$sterna" "$dir"
check "the mean of different shapes is refused" complains 1 "another shape" adapter average "$dir/a.gguf" "$dir/small.gguf" -o "$dir/mean.gguf"
check "generate goes on greedily" ok "$sterna" generate -m "$model" -a "$dir/a.gguf" -p "lamp in room 5 ->" --temperature 0
check "as it was taught, and stops" test "$(cat "$dir/out")" = " on lamp"
check "generate draws" ok "$sterna" generate -m "$model" -p "The" -n 24 --seed 7
cp "$dir/out" "$dir/first"
check "generate draws again" ok "$sterna" generate -m "$model" -p "The" -n 24 --seed 7 --threads 1
check "the same seed gives the same text" cmp "$dir/first" "$dir/out"
check "another seed draws" ok "$sterna" generate -m "$model" -p "The" -n 24 --seed 8
check "another text" test "$(cat "$dir/out")" != "$(cat "$dir/first")"
check "generate without a prompt is told what to give" complains 2 "give -p TEXT, or --chat" generate -m "$model"
printf 'hello\nand then?\n' >"$dir/questions"
check "a chat answers each line" sh -c '"$1" generate -m "$2" --chat -n 8 --json <"$3/questions" >"$3/out" 2>"$3/err"' \
    - "$sterna" "$model" "$dir"
check "and keeps the conversation" test "$(grep -o '"role"' "$dir/out" | wc -l)" -eq 4
mkfifo "$dir/endless"
(head -c 1100000 /dev/zero | tr '\0' a; exec sleep 60) >"$dir/endless" & pids="$pids $!"
code=0
timeout 50 "$sterna" generate -m "$model" --chat <"$dir/endless" >"$dir/out" 2>"$dir/err" || code=$?
check "a line that does not end is refused before it does" [ $code = 1 ]
check "in one line" one_error "a question of more than 1048576 bytes"

printf '{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]}\n' >"$dir/chat.jsonl"
check "a conversation by another template" ok "$sterna" eval -m "$model" -d "$dir/chat.jsonl" --template chatml --json
cp "$dir/out" "$dir/first"
check "than the model's" ok "$sterna" eval -m "$model" -d "$dir/chat.jsonl" --json
check "is another text" test "$(grep -o '"loss": [0-9.]*' "$dir/out")" != "$(grep -o '"loss": [0-9.]*' "$dir/first")"

check "data check counts" ok "$sterna" data check "$dir/good.jsonl" -m "$model" --json
check "fields and their values" says '"home": {"values": 3, "lines": 24}'
check "data check refuses a broken line" complains 1 "line 25.*1 of 25 lines are broken" data check "$dir/bad.jsonl"
check "unless it is to be counted" ok "$sterna" data check "$dir/bad.jsonl" --skip-bad --json
check "as it is" says '"broken": 1'
passed
