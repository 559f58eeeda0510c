#!/bin/sh
# The commands that look at models, vocabularies and adapters, as a user types them. Arguments: sterna, the source's top.
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 top=$2
base=$top/deploy/models/home-base.gguf

field() {
    python3 -c 'import json, sys
v = json.load(sys.stdin)
for k in sys.argv[1].split("."):
    v = v[k]
print(v)' "$1"
}

made() { # by a command of sterna that has to end well
    check "sterna $1 $2" ok "$sterna" "$@"
}

text='Turn on the light, é 世界  at 19:30'
ids=$("$sterna" tokenize -m "$base" -p "$text")
same "text comes back" "$text" "$("$sterna" tokenize -m "$base" --decode -p "$ids")"
printf '%s' "$text" > "$dir/text"
same "a file is the same text" "$ids" "$("$sterna" tokenize -m "$base" -f "$dir/text")"
same "so is standard input" "$ids" "$("$sterna" tokenize -m "$base" < "$dir/text")"
same "bos comes first when asked for" "0 $ids" "$("$sterna" tokenize -m "$base" --bos -p "$text")"
same "special names are tokens when asked for" "1" "$("$sterna" tokenize -m "$base" --special -p '<|end|>')"
same "json counts" 1 "$("$sterna" tokenize -m "$base" --special --json -p '<|end|>' | field n_tokens)"
same "an id outside is an error" "error: token 1024 is not in the vocabulary of 1024" \
    "$("$sterna" tokenize -m "$base" --decode -p 1024 2>&1)"

same "info knows the shape" 3145728 "$("$sterna" model info "$base" --json | field ternary_parameters)"
same "people read what is inside without JSON" 28 \
    "$("$sterna" model info "$base" | sed -n '/^formats/,$s/^    tensors  *\([0-9]*\)$/\1/p' | tail -n 1)"
same "check reads every value" 3414272 "$("$sterna" model check "$base" --json | field values)"
made model random --shape tiny --type tq1_0 --vocab "$base" --seed 3 -o "$dir/r1.gguf"
made model random --shape tiny --type tq1_0 --vocab "$base" --seed 3 -o "$dir/r2.gguf" --json
same "a random model has its shape" 256 "$(field embedding < "$dir/out")"
check "a seed is a file" cmp "$dir/r1.gguf" "$dir/r2.gguf"
head -c 1000000 "$dir/r1.gguf" > "$dir/cut.gguf"
check "a cut file fails in one line" fails 1 'cut.gguf: tensor .* lies outside of the file' "$sterna" model check "$dir/cut.gguf"
check "and says nothing else" [ ! -s "$dir/out" ]
check "a wrong word is wrong usage" ends 2 "$sterna" model random --shape huge --vocab "$base" -o "$dir/x"

# one model in every format that its weights can be read from: the same logits
small="--arch llama --embd 256 --layers 1 --heads 4 --kv 2 --ff 512 --vocab $base --seed 5"
for type in tq2_0 tq1_0 i2_s f32; do
    made model random $small --type $type -o "$dir/$type.gguf"
    made logits -m "$dir/$type.gguf" --tokens 0,5,324,841 -o "$dir/$type.f32"
    check "$type is the same model" cmp "$dir/tq2_0.f32" "$dir/$type.f32"
done
made model random $small --type i2_s --i2s arm -o "$dir/arm.gguf"
made logits -m "$dir/arm.gguf" --i2s arm --tokens 0,5,324,841 -o "$dir/arm.f32"
check "i2_s of ARM is the same model when told" cmp "$dir/tq2_0.f32" "$dir/arm.f32"
same "every value of i2_s is read" 1 "$("$sterna" model check "$dir/i2_s.gguf" --json | grep -c '"ok": true')"
check "heads that share no keys" fails 1 '256 values in 4 heads with 3 for keys' "$sterna" model random $small --kv 3 -o "$dir/x"

# a model that is not ternary: one weight of the f32 model becomes another number
python3 - "$dir/f32.gguf" << 'END'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[-4:] = b"\x00\x00\x80\x3e"
open(sys.argv[1], "wb").write(data)
END
check "floats must be ternary" fails 1 'blk.0.ffn_down.weight (f32) is not ternary: .*--ternarise$' \
    "$sterna" logits -m "$dir/f32.gguf" --tokens 0,5 -o "$dir/x"
check "or be made so" ok "$sterna" logits -m "$dir/f32.gguf" --ternarise --tokens 0,5 -o "$dir/x"
check "nor is it written again unasked" ends 1 "$sterna" model convert "$dir/f32.gguf" -o "$dir/x.gguf"
same "a model is written again in blocks" tq1_0 "$("$sterna" model convert "$dir/f32.gguf" --ternarise --type tq1_0 -o "$dir/x.gguf" \
    --json | grep -o tq1_0)"
made model convert "$dir/arm.gguf" --i2s arm -o "$dir/x.gguf"
made logits -m "$dir/x.gguf" --tokens 0,5,324,841 -o "$dir/x.f32"
check "so that nothing need be said of it" cmp "$dir/tq2_0.f32" "$dir/x.f32"
check "a folder has none of it" fails 1 '--i2s is of a GGUF' "$sterna" model convert "$dir" --i2s x86 -o "$dir/x.gguf"
check "and never over itself" ends 1 "$sterna" model convert "$dir/arm.gguf" -o "$dir/arm.gguf"

echo '{"prompt":"turn on","completion":" the light"}' > "$dir/data.jsonl"
for seed in 1 2; do
    made train -m "$base" -d "$dir/data.jsonl" --backend cpu --steps 1 --rank 2 --seed $seed -o "$dir/a$seed.gguf"
done
same "an adapter has its rank" 2 "$("$sterna" adapter info "$dir/a1.gguf" -m "$base" --json | field rank)"
same "and its targets" q,k,v,o,gate,up,down "$("$sterna" adapter info "$dir/a1.gguf" --json | field targets)"
same "it does not fit another model" 1 "$("$sterna" adapter info "$dir/a1.gguf" -m "$dir/r1.gguf" 2>&1 | grep -c '^error: .*another model')"
same "it is itself" True "$("$sterna" adapter diff "$dir/a1.gguf" "$dir/a1.gguf" --json | field same)"
same "another seed is another" False "$("$sterna" adapter diff "$dir/a1.gguf" "$dir/a2.gguf" --json | field same)"

# scales beside the weights: a folder for PEFT needs them
made model random --arch bitnet --layers 1 --scales --vocab "$base" -o "$dir/scaled.gguf"
made train -m "$dir/scaled.gguf" -d "$dir/data.jsonl" --backend cpu --steps 1 --rank 2 -o "$dir/s.gguf"
made adapter average "$dir/s.gguf" -o "$dir/mean.gguf"
check "a scaled model's adapter is exported with it" fails 1 'give the model, -m MODEL$' "$sterna" adapter export "$dir/mean.gguf" "$dir/peft"
made adapter export "$dir/s.gguf" "$dir/peft" -m "$dir/scaled.gguf"
same "its products have their own alphas" 7 "$(grep -c '"layers.0.[a-z_.]*": ' "$dir/peft/adapter_config.json")"
made adapter import "$dir/peft" -o "$dir/back.gguf"
check "and comes back" cmp "$dir/s.gguf" "$dir/back.gguf"

passed
