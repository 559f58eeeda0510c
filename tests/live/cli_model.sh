#!/bin/sh
# The commands that look at models, vocabularies and adapters, as a user types them. Arguments: sterna, the source's top.
set -u
sterna=$1
top=$2
base=$top/deploy/models/home-base.gguf
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0
failed=0

# check NAME EXPECTED ACTUAL
check() {
    n=$((n + 1))
    if [ "$2" != "$3" ]; then
        failed=$((failed + 1))
        printf '%s: expected "%s", got "%s"\n' "$1" "$2" "$3"
    fi
}

field() {
    python3 -c 'import json, sys
v = json.load(sys.stdin)
for k in sys.argv[1].split("."):
    v = v[k]
print(v)' "$1"
}

text='Turn on the light, é 世界  at 19:30'
ids=$("$sterna" tokenize -m "$base" -p "$text")
check "text comes back" "$text" "$("$sterna" tokenize -m "$base" --decode -p "$ids")"
printf '%s' "$text" > "$dir/text"
check "a file is the same text" "$ids" "$("$sterna" tokenize -m "$base" -f "$dir/text")"
check "so is standard input" "$ids" "$("$sterna" tokenize -m "$base" < "$dir/text")"
check "bos comes first when asked for" "0 $ids" "$("$sterna" tokenize -m "$base" --bos -p "$text")"
check "special names are tokens when asked for" "1" "$("$sterna" tokenize -m "$base" --special -p '<|end|>')"
check "json counts" 1 "$("$sterna" tokenize -m "$base" --special --json -p '<|end|>' | field n_tokens)"
check "an id outside is an error" "error: token 1024 is not in the vocabulary of 1024" \
    "$("$sterna" tokenize -m "$base" --decode -p 1024 2>&1)"

check "info knows the shape" 3145728 "$("$sterna" model info "$base" --json | field ternary_parameters)"
check "people read what is inside without JSON" 28 \
    "$("$sterna" model info "$base" | sed -n '/^formats/,$s/^    tensors  *\([0-9]*\)$/\1/p' | tail -n 1)"
check "check reads every value" 3414272 "$("$sterna" model check "$base" --json | field values)"
"$sterna" model random --shape tiny --type tq1_0 --vocab "$base" --seed 3 -o "$dir/r1.gguf" --json > "$dir/json" || failed=$((failed + 1))
"$sterna" model random --shape tiny --type tq1_0 --vocab "$base" --seed 3 -o "$dir/r2.gguf" > /dev/null || failed=$((failed + 1))
check "a random model has its shape" 256 "$(field embedding < "$dir/json")"
check "a seed is a file" 0 "$(cmp "$dir/r1.gguf" "$dir/r2.gguf" > /dev/null; echo $?)"
head -c 1000000 "$dir/r1.gguf" > "$dir/cut.gguf"
"$sterna" model check "$dir/cut.gguf" > "$dir/out" 2> "$dir/err"
check "a cut file fails" 1 $?
check "in one line" 1 "$(grep -c '^error: .*cut.gguf: tensor .* lies outside of the file' "$dir/err")"
check "and says nothing else" 0 "$(wc -c < "$dir/out" | tr -d ' ')"
"$sterna" model random --shape huge --vocab "$base" -o "$dir/x" 2> /dev/null
check "a wrong word is wrong usage" 2 $?

# one model in every format that its weights can be read from: the same logits
small="--arch llama --embd 256 --layers 1 --heads 4 --kv 2 --ff 512 --vocab $base --seed 5"
for type in tq2_0 tq1_0 i2_s f32; do
    "$sterna" model random $small --type $type -o "$dir/$type.gguf" > /dev/null || failed=$((failed + 1))
    "$sterna" logits -m "$dir/$type.gguf" --tokens 0,5,324,841 -o "$dir/$type.f32" > /dev/null || failed=$((failed + 1))
    check "$type is the same model" 0 "$(cmp "$dir/tq2_0.f32" "$dir/$type.f32" > /dev/null; echo $?)"
done
"$sterna" model random $small --type i2_s --i2s arm -o "$dir/arm.gguf" > /dev/null || failed=$((failed + 1))
"$sterna" logits -m "$dir/arm.gguf" --i2s arm --tokens 0,5,324,841 -o "$dir/arm.f32" > /dev/null || failed=$((failed + 1))
check "i2_s of ARM is the same model when told" 0 "$(cmp "$dir/tq2_0.f32" "$dir/arm.f32" > /dev/null; echo $?)"
check "every value of i2_s is read" 1 "$("$sterna" model check "$dir/i2_s.gguf" --json | grep -c '"ok": true')"
"$sterna" model random $small --kv 3 -o "$dir/x" 2> "$dir/err"
check "heads that share no keys" 1 "$(grep -c '^error: 256 values in 4 heads with 3 for keys' "$dir/err")"

# a model that is not ternary: one weight of the f32 model becomes another number
python3 - "$dir/f32.gguf" << 'END'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[-4:] = b"\x00\x00\x80\x3e"
open(sys.argv[1], "wb").write(data)
END
"$sterna" logits -m "$dir/f32.gguf" --tokens 0,5 -o "$dir/x" 2> "$dir/err"
check "floats must be ternary" 1 "$(grep -c '^error: blk.0.ffn_down.weight (f32) is not ternary: .*--ternarise$' "$dir/err")"
"$sterna" logits -m "$dir/f32.gguf" --ternarise --tokens 0,5 -o "$dir/x" > /dev/null
check "or be made so" 0 $?
"$sterna" model convert "$dir/f32.gguf" -o "$dir/x.gguf" 2> "$dir/err"
check "nor is it written again unasked" 1 $?
check "a model is written again in blocks" tq1_0 "$("$sterna" model convert "$dir/f32.gguf" --ternarise --type tq1_0 -o "$dir/x.gguf" \
    --json | grep -o tq1_0)"
"$sterna" model convert "$dir/arm.gguf" --i2s arm -o "$dir/x.gguf" > /dev/null || failed=$((failed + 1))
"$sterna" logits -m "$dir/x.gguf" --tokens 0,5,324,841 -o "$dir/x.f32" > /dev/null || failed=$((failed + 1))
check "so that nothing need be said of it" 0 "$(cmp "$dir/tq2_0.f32" "$dir/x.f32" > /dev/null; echo $?)"
"$sterna" model convert "$dir/arm.gguf" -o "$dir/arm.gguf" 2> /dev/null
check "and never over itself" 1 $?

echo '{"prompt":"turn on","completion":" the light"}' > "$dir/data.jsonl"
for seed in 1 2; do
    "$sterna" train -m "$base" -d "$dir/data.jsonl" --backend cpu --steps 1 --rank 2 --seed $seed -o "$dir/a$seed.gguf" > /dev/null 2>&1 ||
        failed=$((failed + 1))
done
check "an adapter has its rank" 2 "$("$sterna" adapter info "$dir/a1.gguf" -m "$base" --json | field rank)"
check "and its targets" q,k,v,o,gate,up,down "$("$sterna" adapter info "$dir/a1.gguf" --json | field targets)"
check "it does not fit another model" 1 "$("$sterna" adapter info "$dir/a1.gguf" -m "$dir/r1.gguf" 2>&1 | grep -c '^error: .*another model')"
check "it is itself" True "$("$sterna" adapter diff "$dir/a1.gguf" "$dir/a1.gguf" --json | field same)"
check "another seed is another" False "$("$sterna" adapter diff "$dir/a1.gguf" "$dir/a2.gguf" --json | field same)"

# scales beside the weights: a folder for PEFT needs them
"$sterna" model random --arch bitnet --layers 1 --scales --vocab "$base" -o "$dir/scaled.gguf" > /dev/null || failed=$((failed + 1))
"$sterna" train -m "$dir/scaled.gguf" -d "$dir/data.jsonl" --backend cpu --steps 1 --rank 2 -o "$dir/s.gguf" > /dev/null 2>&1 || failed=$((failed + 1))
"$sterna" adapter average "$dir/s.gguf" -o "$dir/mean.gguf" > /dev/null || failed=$((failed + 1))
"$sterna" adapter export "$dir/mean.gguf" "$dir/peft" 2> "$dir/err"
check "a scaled model's adapter is exported with it" 1 "$(grep -c '^error: .*give the model, -m MODEL$' "$dir/err")"
"$sterna" adapter export "$dir/s.gguf" "$dir/peft" -m "$dir/scaled.gguf" > /dev/null || failed=$((failed + 1))
check "its products have their own alphas" 7 "$(grep -c '"layers.0.[a-z_.]*": ' "$dir/peft/adapter_config.json")"
"$sterna" adapter import "$dir/peft" -o "$dir/back.gguf" > /dev/null || failed=$((failed + 1))
check "and comes back" 0 "$(cmp "$dir/s.gguf" "$dir/back.gguf" > /dev/null; echo $?)"

echo "$((100 * (n - failed) / n))%: Checks: $n, Failures: $failed, Errors: 0"
[ "$failed" -eq 0 ]
