#!/bin/sh
# sterna simulate as a user runs it. Arguments: sterna, the source's top.
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 top=$2
STERNA_MODELS=$top/deploy/models
export STERNA_MODELS

# without wall_s, the only number that may differ
numbers() {
    python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
d.pop("wall_s")
print(json.dumps(d, sort_keys=True))' "$1"
}

run() { # its name, then its options
    name=$1
    shift
    "$sterna" simulate "$@" --json >"$dir/$name"
}

# The same numbers on another number of threads. A sanitizer sees no more the second time.
sanitized=$(grep -c __asan_init "$sterna" || true)
twice() { # the claim, then as run
    claim=$1
    shift
    run "$@" --threads 2
    if [ "$sanitized" = 0 ]; then
        first=$name
        shift
        run again "$@" --threads 1
        same "$claim" "$(numbers "$dir/$first")" "$(numbers "$dir/again")"
    fi
}

if [ "$sanitized" != 0 ]; then # its numbers are seen without one
    run 1 --clients 5 --rounds 2 --local-steps 1 --dropout 0.2 --latency 100 --compare --report "$dir/r.html" --adapter-out "$dir/a.gguf"
    same "all of it runs" 2 "$(python3 -c 'import json, sys
print(len(json.load(open(sys.argv[1]))["rounds"]))' "$dir/1")"
    passed
    exit 0
fi
few="--clients 6 --rounds 2 --seed 5"
# shellcheck disable=SC2086
{
    twice "any number of threads gives the same numbers" 1 $few --compare --report "$dir/r.html" --adapter-out "$dir/a.gguf"
    run 3 $few --seed 6
    twice "losses and delays come from the seed" 4 $few --dropout 0.3 --latency 300 --rounds 3
    run 6 $few --secure off
    "$sterna" simulate $few --threads 1 >"$dir/7"
}
digest() {
    python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["adapter_digest"])' "$1"
}
same "without losses masks change no bit" "$(digest "$dir/1")" "$(digest "$dir/6")"
same "secure aggregation is on unless it is off" "True False" "$(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["secure"], json.load(open(sys.argv[2]))["secure"])' "$dir/1" "$dir/6")"
same "it costs bytes, and not many" True "$(python3 -c 'import json, sys
on, off = (sum(r["bytes_up"] for r in json.load(open(f))["rounds"]) for f in sys.argv[1:])
print(off < on < 1.05 * off)' "$dir/1" "$dir/6")"
same "n_min is printed" 1 "$(grep -c "cohort 6, n_min 3," "$dir/7")"
same "another seed is another history" 1 "$([ "$(numbers "$dir/1")" != "$(numbers "$dir/3")" ] && echo 1)"
same "the result has its parts" "2 6 True True" "$(python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
r = d["rounds"]
print(len(r), d["clients"], r[1]["eval_loss"] < r[0]["eval_loss"] < d["base"]["loss"], {"local", "central", "federated"} <= set(d))' "$dir/1")"
same "devices are lost and counted" True "$(python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
print(sum(r["lost"] for r in d["rounds"]) > 0 and all(r["clients"] >= d["n_min"] == 3 for r in d["rounds"]))' "$dir/4")"
same "the report asks for nothing from elsewhere" 0 "$(grep -c -E '(src|href)="?http' "$dir/r.html")"
same "the report has its numbers" 1 "$(grep -c '"adapter_digest":' "$dir/r.html")"
same "the merged adapter is one" 8 "$("$sterna" adapter info "$dir/a.gguf" --json | python3 -c 'import json, sys
print(json.load(sys.stdin)["rank"])')"
for lora in both ffa alternate; do
    twice "$lora: any number of threads gives the same numbers" $lora --clients 5 --rounds 2 --local-steps 2 --lora $lora --outer adam
done
same "one factor alone goes up in about half the bytes" "True True" "$(python3 -c 'import json, sys
both, ffa, alternate = (sum(r["bytes_up"] for r in json.load(open(f"{sys.argv[1]}/{n}"))["rounds"]) for n in ("both", "ffa", "alternate"))
print(0.4 < ffa / both < 0.6, 0.4 < alternate / both < 0.6)' "$dir")"
printf '[task]\nname = t\n[model]\nbase = %s\nhalvings = 2\n[train]\nlocal_steps = 2\n[cohort]\ntarget = 4\nn_min = 3\nsecure = no\nstaleness = 2
[merge]\nlora = alternate\n' "$top/deploy/models/home-base.gguf" > "$dir/mixed.ini"
twice "mixed ranks, factors in turn, stale deltas: the same numbers again" mixed --task "$dir/mixed.ini" --clients 8 --rounds 4 --latency 500
same "the result names the model of the task, or the built-in one" "$top/deploy/models/home-base.gguf home-base" "$(python3 -c 'import json, sys
print(*(json.load(open(f))["model"] for f in sys.argv[1:]))' "$dir/mixed" "$dir/1")"
sed 's/staleness = 2/delta = 0.1/; s/n_min = 3/n_min = 5/; s/target = 4/target = 8/; s/halvings = 2/halvings = 1/' "$dir/mixed.ini" > "$dir/two.ini"
for secure in on off; do
    run two-$secure --task "$dir/two.ini" --clients 8 --rounds 2 --secure $secure
done
same "mixed ranks under masks come to the same" "$(digest "$dir/two-on")" "$(digest "$dir/two-off")"
same "and what comes of them learns" True "$(python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
print(len(d["rounds"]) == 4 and d["rounds"][3]["eval_loss"] < d["base"]["loss"] - 1)' "$dir/mixed")"
"$sterna" data demo -o "$dir/homes" --devices 3 > /dev/null
cat "$dir"/homes/home-*.jsonl > "$dir/all.jsonl"
same "one client for each value of a field" 3 "$("$sterna" simulate -d "$dir/all.jsonl" --partition by:home --rounds 1 \
    --local-steps 1 --secure off --json | python3 -c 'import json, sys
print(json.load(sys.stdin)["clients"])')"
same "a lopsided split runs too" 6 "$("$sterna" simulate -d "$dir/all.jsonl" --partition dirichlet:0.1 --clients 6 \
    --rounds 1 --local-steps 1 --json | python3 -c 'import json, sys
print(json.load(sys.stdin)["clients"])')"

refused() { # the exit code, words of the error, then options
    expected=$1 words=$2
    shift 2
    check "simulate $*" fails "$expected" "$words" "$sterna" simulate "$@"
}
refused 2 'expected iid, dirichlet:ALPHA or by:FIELD' --partition odd -d "$dir/all.jsonl"
refused 1 'cohort of 9 is more than the 4 clients' --clients 4 --cohort 9
refused 1 'secure round has 5 devices at least' --clients 4
refused 1 'no-such.gguf' -m no-such.gguf
refused 1 'no field street' -d "$dir/all.jsonl" --partition by:street
refused 2 'expected a number from 2 to' --clients 1
refused 2 'no option is called' --no-such
printf '[task]\nname = A B\n' > "$dir/t.ini"
refused 1 'base in .model. is missing' --task "$dir/t.ini"
echo '{"prompt": 3}' >> "$dir/all.jsonl"
refused 1 'all.jsonl.*181' -d "$dir/all.jsonl"

check "it is installed" ok meson install -C "$STERNA_BUILD" --no-rebuild --destdir "$dir/installed"
check "and finds its model there" ok env -u STERNA_MODELS "$(find "$dir/installed" -path '*/bin/sterna')" simulate --clients 5 --rounds 1 --local-steps 1
for unit in sternad sternad-directory sterna-agent; do
    check "$unit.service starts what is installed" test -x "$dir/installed$(sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' "$(find "$dir/installed" -name $unit.service)")"
done

passed
