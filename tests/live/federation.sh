#!/bin/sh
# The whole of it, as live processes on loopback: a coordinator, its directory and six agents finish three rounds of home
# data; one agent is killed in the middle of its training, the coordinator in the middle of the uploads. The adapter that
# comes out is, bit for bit, what the accepted deltas come to.
# Device 4 is an app with the library inside.
#   federation.sh STERNA STERNAD STERNA_AGENT RECOMPUTE APP TOP
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 sternad=$2 agent=$3 recompute=$4 app=$5 top=$6
logs="out err dir.log log a*/log"
port=$(python3 "$top/tests/lib/port.py")
fleet=$dir/fleet

start_coordinator() {
    "$sternad" run --config "$fleet/sternad.conf" 2>>"$dir/log" &
    coordinator=$!
    pids="$pids $coordinator"
}

start_agent() {
    if [ "$1" = 4 ]; then
        "$app" "$dir/a4/agent.conf" home 2>>"$dir/a4/log" &
    elif [ "$1" = 2 ]; then # a GPU that is lost in its first step, where there is one; what drivers leave behind is not ours
        env -u VK_DRIVER_FILES -u VK_ICD_FILENAMES STERNA_VULKAN=lost=1 STERNA_CACHE="$dir" \
            ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" "$agent" run --config "$dir/a2/agent.conf" 2>>"$dir/a2/log" &
    else
        "$agent" run --config "$dir/a$1/agent.conf" 2>>"$dir/a$1/log" &
    fi
    eval "agent_$1=$!"
    pids="$pids $!"
}

# -- a fleet --
check "a coordinator is made" ok "$sternad" init "$fleet" --listen "tcp://127.0.0.1:$port" --address "127.0.0.1:$port"
sed -i 's/keep_updates = no/keep_updates = yes/' "$fleet/sternad.conf"
cat >"$dir/home.ini" <<INI
[task]
name = home
rounds = 3
[model]
base = $top/deploy/models/home-base.gguf
rank = 16
alpha = 32
[train]
local_steps = 8
batch_examples = 8
[cohort]
target = 6
n_min = 5
over_selection = 1
join_window_s = 60
report_deadline_s = 120
upload_s = 120
secure = off
[merge]
lora = alternate
outer = nesterov
INI
"$sternad" directory --config "$fleet/directory/directory.conf" 2>"$dir/dir.log" &
directory=$!
pids="$directory"
start_coordinator
check "the coordinator answers" until_true 30 test -S "$fleet/operator.sock"
check "the directory answers" until_true 30 test -S "$fleet/directory/directory.sock"
check "a task is created" ok "$sterna" task create "$dir/home.ini" --dir "$fleet"
check "six homes have data" ok "$sterna" data demo -o "$dir/data" --devices 6 --seed 1
check "six devices are invited" ok "$sterna" invite -n 6 --dir "$fleet"
cp "$dir/out" "$dir/urls"

# -- six devices --
i=0
for url in $(cat "$dir/urls"); do
    check "device $i joins" ok "$sterna" join "$url" --dir "$dir/a$i"
    sed -i -e "s|^# n_min = .*|n_min = 5\nallow_plain = yes\nretry_ms = 200\nretry_most_ms = 2000|" -e "s|^# threads = .*|threads = 1\nbackend = cpu|" -e "s|^# upload_kbps = .*|upload_kbps = 1000|" \
        -e "s|^# data.TASK = PATH|data.home = $dir/data/home-0$i.jsonl|" \
        "$dir/a$i/agent.conf"
    i=$((i + 1))
done
first=$(head -n 1 "$dir/urls")
check "a spent token enrols no other device" sh -c '! "$1" join "$2" --dir "$3/other" >"$3/out" 2>"$3/err"' - "$sterna" "$first" "$dir"
check "... and says so" grep -q "^error: .*token is spent" "$dir/err"
fails_to_join() { # the exit code, words of the one error line, then the URL
    fails "$1" "$2" "$sterna" join "$3" --dir "$dir/other" --timeout 1
}
check "a URL that is none is named" fails_to_join 2 "sterna://" "http://127.0.0.1:$port/"
check "so is one without a token" fails_to_join 1 "no token" "${first%&token=*}"
check "nobody there is said" fails_to_join 1 "does not answer" "$(echo "$first" | sed "s|:$port/|:1/|")"
check "another key is said" fails_to_join 1 "keys are not this fleet" "$(echo "$first" | sed 's|key=[0-9a-f]*|key='"$(cat "$fleet/keys/directory.pub")"'|')"
check "the same device may repeat it" ok "$sterna" join "$first" --dir "$dir/a0"
check "a key is its owner's alone" [ "$(stat -c %a "$dir/a0/keys/device.key")" = 600 ]
sed -i 's|^\[agent\]|[agent]\nmodel = '"$top/deploy/models/home-base.gguf"'|' "$dir/a1/agent.conf"
sed -i "s|^backend = cpu|backend = vulkan|" "$dir/a2/agent.conf"
for i in 0 1 2 3 4 5; do start_agent $i; done

# -- an agent is killed in the middle of its training --
trains() { # it has begun to train from a version after the first, and not ended
    tail -n 1 "$dir/a5/log" | grep -q "event=training .*version=[12]"
}
caught() { # it goes on for a moment at a time, so that no machine is too fast for the kill
    kill -CONT "$agent_5"
    sleep 0.01
    kill -STOP "$agent_5"
    trains
}
check "agent 5 trains from a version after the first" until_true 120 caught
killed "$agent_5"
check "it was killed in mid-training" trains
lease=$(tail -n 1 "$dir/a5/log" | sed 's/.* lease=\([0-9]*\) .*/\1/')
other=$(printf '%064d' 7) # a blob that nobody asks for any more
for name in models/$other.part models/$other.have models/$other.12.0.tmp adapters/home.gguf.12.0.tmp; do
    echo half >"$dir/a5/$name"
done
start_agent 5
same_again() {
    [ "$(grep -c "event=training .*lease=$lease " "$dir/a5/log")" -ge 2 ]
}
check "started again, it trains for the same lease again" until_true 60 same_again
check "what a killed process leaves half written is gone" [ -z "$(find "$dir/a5/models" "$dir/a5/adapters" -name "$other.*" -o -name "*.tmp")" ]
trained() { # agent, version
    grep -q "event=trained .*version=$2 " "$dir/a$1/log"
}
check "agent 0 has trained from version 1" until_true 60 trained 0 1
rm -f "$dir"/a0/work/*.delta # the file is for a restart: what waits for its round is in memory, too, and counted below
check "a second agent in its folder is refused" sh -c '! "$1" run --config "$2/a5/agent.conf" 2>"$2/err" && grep -q "^error: " "$2/err"' - "$agent" "$dir"

# -- the coordinator is killed in the middle of the uploads --
uploads() { # every agent has trained for version 3, and something of an upload is there that is not whole
    grep -q "event=trained .*version=2" "$dir/a0/log" && ls "$fleet"/rounds/*/*.part >/dev/null 2>&1
}
check "uploads of the third round are on their way" until_true 120 uploads
killed "$coordinator"
check "it was killed in mid-upload" ls "$fleet"/rounds/*/*.part >"$dir/out"
echo half >"$fleet/blobs/$other.12.0.tmp"
start_coordinator

# -- the end --
finished() {
    "$sterna" task list --dir "$fleet" >"$dir/out" 2>"$dir/err" && grep -q "^home .*finished .*3/3" "$dir/out"
}
check "three rounds are finished" until_true 180 finished
for i in 0 1 2 3 4 5; do
    check "agent $i hears of version 3" until_true 60 grep -q "event=\(installed\|kept_old\) task=home version=3" "$dir/a$i/log"
done
check "the releases are what the accepted deltas come to" ok "$recompute" "$fleet"
digest=$(cat "$dir/out")
check "where a GPU failed the processor trained" [ "$(grep -c "level=warn event=fell_back_to_cpu" "$dir/a2/log")" -ge 3 ]
check "all the six were counted in every round" [ "$(cat "$fleet"/kept/*/release.json | grep -c '"n_included": 6')" = 3 ]
for i in 0 1 2 3 4 5; do
    check "agent $i has the released adapter" cmp "$fleet/blobs/$digest" "$dir/a$i/models/$digest"
done
base=$(sed -n 's/.*"base": "\([0-9a-f]*\)".*/\1/p' "$fleet"/kept/*/release.json | head -n 1)
check "agent 0 has fetched the base model" cmp "$top/deploy/models/home-base.gguf" "$dir/a0/models/$base"
check "agent 1 had it already" test ! -e "$dir/a1/models/$base"
check "an adapter is in place" test -s "$dir/a0/adapters/home.gguf"

# -- the owner's commands --
check "an agent says what it does" ok "$agent" status --config "$dir/a0/agent.conf" --json
check "... and has" grep -q '"version": 3' "$dir/out"
check "... and how often it took part" grep -q '"spent": 3' "$dir/out"
check "it is paused" ok "$agent" pause --config "$dir/a0/agent.conf"
check "... and says so" ok "$agent" status --config "$dir/a0/agent.conf"
check "... in words" grep -q "may work *paused" "$dir/out"
check "it is resumed" ok "$agent" resume --config "$dir/a0/agent.conf"
check "a running agent is not forgotten" sh -c '! "$1" forget --yes --config "$2/a0/agent.conf" 2>"$2/err"' - "$agent" "$dir"
for i in 0 1 2 3 4 5; do
    eval "pid=\$agent_$i"
    check "SIGTERM ends agent $i well" ends_well "$pid"
done
check "the app heard of every phase" grep -q "^app: phase=5 task=home version=2 " "$dir/a4/log"
check "... and of version 3" grep -q "^app: phase=0 task= version=3 parts=3 " "$dir/a4/log"
check "... and of the pause" grep -q "^app: .* paused=1 why=paused" "$dir/a4/log"
hour=$(date +%-H)
printf '[conditions]\nhours = %d-%d\n' $(((hour + 3) % 24)) $(((hour + 4) % 24)) >"$dir/hours"
sed -i -e '/^\[conditions\]/{r '"$dir/hours"'
d}' "$dir/a4/agent.conf"
: >"$dir/a4/log"
start_agent 4
check "an app that may not work anyway hears of the pause" until_true 30 grep -q "^app: .* may_work=0 paused=1 why=paused" "$dir/a4/log"
check "... and of its end, and why it may not" until_true 30 grep -q "^app: .* may_work=0 paused=0 why=outside the hours" "$dir/a4/log"
check "SIGTERM ends the app again" ends_well "$agent_4"
check "forgetting wants to be meant" sh -c '! "$1" forget --config "$2/a0/agent.conf" 2>"$2/err"' - "$agent" "$dir"
check "the device forgets" ok "$agent" forget --yes --config "$dir/a0/agent.conf"
check "... its key" test ! -e "$dir/a0/keys/device.key"
check "nothing is left half written at the coordinator's" [ ! -e "$fleet/blobs/$other.12.0.tmp" ]
check "SIGTERM ends the coordinator well" ends_well "$coordinator"
check "SIGTERM ends the directory well" ends_well "$directory"
pids=
passed
