#!/bin/sh
# What `sterna train` can be told: validation and patience, limits, several adapters, passes, scales, dropout.
#   train_options.sh STERNA TOP
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 model=$2/deploy/models/home-base.gguf

train() { # an adapter's name, then options
    out=$1
    shift
    "$sterna" train -m "$model" -d "$dir/data.jsonl" -o "$dir/$out" --seed 3 --threads 1 --backend cpu --lr 3e-3 --batch-tokens 128 "$@" \
        >"$dir/out" 2>"$dir/err" </dev/null
}

refuses() { # words of the error, then as train
    words=$1
    shift
    ! train "$@" && one_error "$words" && [ ! -e "$dir/$1" ]
}

i=0
while [ $i -lt 40 ]; do
    echo "{\"prompt\": \"turn the lamp in room $i on ->\", \"completion\": \" on lamp room $((i * 7 % 40))\"}"
    i=$((i + 1))
done >"$dir/data.jsonl"
sed 's/lamp/fan/g' "$dir/data.jsonl" | head -9 >"$dir/other.jsonl"

# validation
check "a share is held back" train a.gguf --epochs 40 --validation-share 0.2 --validation-steps 4 --patience 3 \
    --metrics "$dir/a.metrics" --json
check "of which the rest is learned" says '"examples": 32,'
check "patience ends the run" says '"stopped": false, "end": "patience"'
check "before its planned end" holds "$(number steps) < $(number steps_planned)"
check "an evaluation is a line of the metrics" test "$(grep -c validation_loss "$dir/a.metrics")" -eq "$(number looks)"
best=$(number loss_best) best_step=$(number best_step)
check "the best is three evaluations back" test "$best_step" -eq $(($(number steps) - 12))
check "and better than the last" holds "$best < $(number loss_last)"
check "the metrics say which was best" sh -c 'grep "\"best\": true" "$1" | tail -1 | grep -q "\"step\": $2,"' - "$dir/a.metrics" "$best_step"
check "a file does as well" train b.gguf --epochs 3 --validation "$dir/other.jsonl" --json
check "and is said so" says '"validation": {"examples": 9, "looks": 1[0-9],'
check "what was written is what did best" sh -c '"$1" eval -m "$2" -a "$3/b.gguf" -d "$3/other.jsonl" --backend cpu --json >"$3/eval"' - "$sterna" "$model" "$dir"
evaluated=$(sed 's/.*"loss": \([0-9.e+-]*\).*/\1/' "$dir/eval")
check "by its loss" holds "($evaluated - $(number loss_best))^2 < 1e-10"
check "patience without validation is refused" refuses "patience needs --validation" no.gguf --patience 2
check "two kinds of validation are refused" refuses "give one" no.gguf --validation "$dir/other.jsonl" --validation-share 0.1

# limits
check "tokens end a run" train c.gguf --token-limit 900 --json
check "with the step that reaches them" holds "$(number tokens) >= 900 && $(number tokens) < 900 + 128"
check "an epoch may be less" train c.gguf --token-limit 100000 --epochs 1 --json
check "and then is the end" says '"end": "steps"'
check "time ends a run" train d.gguf --epochs 5000 --time-limit 0.02 --checkpoint "$dir/kept" --json
check "as a stop" says '"stopped": true, "end": "time"'
check "that keeps its adapter" test -s "$dir/d.gguf"
check "and goes on when it is told so" train d.gguf --epochs 5000 --time-limit 0.02 --resume "$dir/kept" --json

check "a run that leaves all numbers ends" refuses "the example.* of line.* step [0-9]*: .*lower the rate" no.gguf --lr 10 \
    --weight-decay 10 --clip 0 --schedule constant --warmup 0 --epochs 300 --checkpoint "$dir/none"

# passes
check "passes may be small" train e.gguf --steps 3 --pass-tokens 40 --backward exact --json
check "as the plan says" says '"pass_tokens": 40'
small=$(number loss_last)
check "passes may be large" train f.gguf --steps 3 --pass-tokens 128 --backward exact --json
check "and the loss is the same within rounding" holds "($small - $(number loss_last))^2 < 1e-8"
check "passes below the longest example are refused" refuses "pass-tokens is 5: give at least" no.gguf --pass-tokens 5

# scales and dropout
check "a rank-stabilised scale" train g.gguf --steps 2 --rslora --alpha 16 --rank 4 --json
check "is in alpha" says '"alpha": 32.0'
check "leaves as PEFT has it" sh -c '"$1" adapter export "$2/g.gguf" "$2/peft" --to peft >/dev/null' - "$sterna" "$dir"
check "in its words" grep -q '"use_rslora": true' "$dir/peft/adapter_config.json"
check "with the alpha that was given" grep -q '"lora_alpha": 16,' "$dir/peft/adapter_config.json"
check "and an alpha of 32 is the same adapter" train h.gguf --steps 2 --alpha 32 --rank 4
check "value for value" sh -c '"$1" adapter diff "$2/g.gguf" "$2/h.gguf" | grep -q "the same values"' - "$sterna" "$dir"
check "dropout is another run" train i.gguf --steps 2 --dropout 0.3
check "a seeded one" train j.gguf --steps 2 --dropout 0.3 --threads 2
check "bit for bit" cmp "$dir/i.gguf" "$dir/j.gguf"
check "it does something" sh -c '! cmp -s "$1/i.gguf" "$1/b.gguf"' - "$dir"

# several adapters, one model
check "several adapters" train k.gguf --steps 4 --checkpoint "$dir/many" --metrics "$dir/many.metrics" --json \
    "$dir/other.jsonl" "$dir/l.gguf"
check "in one object" says '^{"adapters": \[{"output": .*l.gguf.*"stopped": false}$'
check "each with its metrics" test "$(wc -l <"$dir/many.metrics")" -eq 4 -a "$(wc -l <"$dir/many.metrics.2")" -eq 4
check "and its checkpoint" test -e "$dir/many/checkpoint" -a -e "$dir/many/2/checkpoint"
cp "$dir/k.gguf" "$dir/first"
cp "$dir/l.gguf" "$dir/second"
check "they go on together" train k.gguf --steps 4 --resume "$dir/many" --metrics "$dir/many.metrics" "$dir/other.jsonl" "$dir/l.gguf"
check "to the same first" cmp "$dir/k.gguf" "$dir/first"
check "and the same second" cmp "$dir/l.gguf" "$dir/second"
check "as each alone" train m.gguf --steps 4
check "the first" cmp "$dir/m.gguf" "$dir/first"
check "one goes on from another" train n.gguf --steps 2 -a "$dir/first" --json
check "with its shape" says '"rank": 8'
check "two into one file are refused" refuses "two adapters would be written" no.gguf "$dir/other.jsonl" "$dir/no.gguf"
check "half a pair is refused" refuses "stands alone" no.gguf "$dir/other.jsonl"
passed
