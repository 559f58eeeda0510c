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

echo '{"prompt":"turn on","completion":" the light"}' > "$dir/data.jsonl"
for seed in 1 2; do
    "$sterna" train -m "$base" -d "$dir/data.jsonl" --steps 1 --rank 2 --seed $seed -o "$dir/a$seed.gguf" > /dev/null 2>&1 ||
        failed=$((failed + 1))
done
check "an adapter has its rank" 2 "$("$sterna" adapter info "$dir/a1.gguf" -m "$base" --json | field rank)"
check "and its targets" q,k,v,o,gate,up,down "$("$sterna" adapter info "$dir/a1.gguf" --json | field targets)"
check "it does not fit another model" 1 "$("$sterna" adapter info "$dir/a1.gguf" -m "$dir/r1.gguf" 2>&1 | grep -c '^error: .*another model')"
check "it is itself" True "$("$sterna" adapter diff "$dir/a1.gguf" "$dir/a1.gguf" --json | field same)"
check "another seed is another" False "$("$sterna" adapter diff "$dir/a1.gguf" "$dir/a2.gguf" --json | field same)"

echo "$((100 * (n - failed) / n))%: Checks: $n, Failures: $failed, Errors: 0"
[ "$failed" -eq 0 ]
