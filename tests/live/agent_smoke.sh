#!/bin/sh
# One agent as its owner meets it: what it needs to run, that it does nothing without consent, stops when it is told to,
# and goes on where it was.
#   agent_smoke.sh STERNA STERNAD STERNA_AGENT APP TOP
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 sternad=$2 agent=$3 app=$4 top=$5
logs="out err dir.log log a/log"
port=$(python3 "$top/tests/lib/port.py")
fleet=$dir/fleet conf=$dir/a/agent.conf

start_agent() {
    "$agent" run --dir "$dir/a" 2>>"$dir/a/log" &
    pid=$!
    pids="$daemons $pid"
}

status_has() { # a piece of it
    ok "$agent" status --config "$conf" --json && says "$1"
}

logged() { # how often at least, a line
    [ "$(grep -c "$2" "$dir/a/log")" -ge "$1" ]
}

check "without a config run says what makes one" fails 1 "sterna join" "$agent" run --config "$dir/nowhere.conf"
check "a coordinator is made" ok "$sternad" init "$fleet" --listen "tcp://127.0.0.1:$port" --address "127.0.0.1:$port"
cat >"$dir/long.ini" <<INI
[task]
name = long
[model]
base = $top/deploy/models/home-base.gguf
[train]
local_steps = 100000
[cohort]
target = 6
n_min = 5
secure = off
INI
"$sternad" directory --config "$fleet/directory/directory.conf" 2>"$dir/dir.log" &
daemons=$! directory=$!
"$sternad" run --config "$fleet/sternad.conf" 2>"$dir/log" &
daemons="$daemons $!" coordinator=$!
pids=$daemons
check "the coordinator answers" until_true 30 test -S "$fleet/operator.sock"
check "the directory answers" until_true 30 test -S "$fleet/directory/directory.sock"
check "a task is created" ok "$sterna" task create "$dir/long.ini" --dir "$fleet"
check "a device is invited" ok "$sterna" invite --dir "$fleet"
check "it joins" ok "$sterna" join "$(cat "$dir/out")" --dir "$dir/a" --json
check "... and says where" grep -q "\"config\": \"$conf\"" "$dir/out"
check "status says that nothing runs" fails 1 "no agent runs" "$agent" status --config "$conf"
check "the folder is enough to find its config" fails 1 "no agent runs in $dir/a:" "$agent" status --dir "$dir/a"
chmod 644 "$dir/a/keys/device.key"
check "a key that others may read is refused" fails 1 "others may read this key" "$agent" run --config "$conf"
chmod 600 "$dir/a/keys/device.key"

# -- no consent, no part --
sed -i -e "s|^# threads = .*|threads = 1\nbackend = cpu\nretry_ms = 100\nretry_most_ms = 1000|" "$conf"
start_agent
check "it runs" until_true 30 status_has '"may_work": true'
sleep 0.5
check "without data it asks for nothing" [ "$(grep -c "event=connected" "$dir/a/log")" = 0 ]
check "SIGTERM ends it well" ends_well "$pid"

# -- a floor above the task's --
check "a home has data" ok "$sterna" data demo -o "$dir/data" --devices 1
sed -i "s|^# data.TASK = PATH|data.long = $dir/data/home-00.jsonl|" "$conf"
start_agent
check "it asks" until_true 30 logged 1 "event=connected"
sleep 0.5
check "a task below its floor of 16 is none for it" [ "$(grep -c "event=training" "$dir/a/log")" = 0 ]
check "SIGTERM ends it well, with consent" ends_well "$pid"

# -- it works, and stops when it is told to --
sed -i "s|^# n_min = .*|n_min = 5|" "$conf"
rm "$dir/a/agent.state" # or it would come back when it was told to
start_agent
check "it asks again" until_true 30 logged 2 "event=connected"
sleep 0.5
check "a task without secure aggregation is none for it" [ "$(grep -c "event=training" "$dir/a/log")" = 0 ]
check "it says why" ok "$agent" status --config "$conf"
check "... in words" grep -q "no part in rounds without secure aggregation" "$dir/out"
check "... and that its floor is low" status_has '"n_min_lowered": true'
check "SIGTERM ends it well, in want of a secure task" ends_well "$pid"
check "there is no evidence" ok "$sterna" log evidence --dir "$dir/a"
check "... and it says so" grep -q "no evidence" "$dir/out"
echo '{}' >"$dir/a/evidence/x-rosters.json"
check "what is no evidence is said" fails 1 "do not hold two statements" "$sterna" log evidence --dir "$dir/a" --json
rm "$dir/a/evidence/x-rosters.json" "$dir/a/agent.state"
sed -i "s|^# allow_plain = .*|allow_plain = yes|" "$conf"
start_agent
check "it trains" until_true 30 status_has '"phase": "training"'
sed "s|^data.long = .*||" "$conf" >"$dir/none.conf"
cp "$conf" "$dir/consent.conf"
cp "$dir/none.conf" "$conf"
kill -HUP "$pid"
check "SIGHUP takes consent back" until_true 30 logged 1 "event=withdrawn"
check "... at once" until_true 30 status_has '"phase": "idle"'
check "... and says it" status_has '"consents": \[\]'
check "... and the agent lives" kill -0 "$pid"
sed "s|^url = .*|url = tcp://127.0.0.1:1|" "$dir/consent.conf" >"$conf"
kill -HUP "$pid"
check "SIGHUP gives consent" until_true 30 status_has '"phase": "training"'
check "... a server is for the next start" logged 1 "event=needs_a_restart setting=server.url"
sed "s|^n_min = .*|n_min = 6|" "$dir/consent.conf" >"$conf"
kill -HUP "$pid"
check "SIGHUP raises the floor" until_true 30 logged 2 "event=withdrawn"
check "... which is said" status_has '"n_min": 6'
echo "nonsense = 1" >>"$conf"
kill -HUP "$pid"
check "a file that is wrong is said" until_true 30 logged 1 "event=config_not_read.*nonsense"
cp "$dir/consent.conf" "$conf"
kill -HUP "$pid"
check "SIGHUP lowers the floor" until_true 30 status_has '"phase": "training"'
begun=$(grep -c "event=training" "$dir/a/log")
check "it is paused" ok "$agent" pause --config "$conf"
check "... and may not work" status_has '"may_work": false'
check "SIGTERM ends it well, paused" ends_well "$pid"
start_agent
check "it is paused still" until_true 30 status_has '"paused": true'
check "... and has not begun again" [ "$(grep -c event=training "$dir/a/log")" = "$begun" ]
check "it is resumed" ok "$agent" resume --dir "$dir/a"
check "... and trains" until_true 30 logged $((begun + 1)) "event=training .*lease=[0-9]"
check "SIGTERM ends it well, in mid-training" ends_well "$pid"

# -- a journal that is damaged --
printf 'x' | dd of="$dir/a/agent.state" bs=1 seek=40 conv=notrunc 2>/dev/null
start_agent
check "a damaged journal is said" until_true 30 logged 1 "event=fresh_start .*agent.state: the agent's record is damaged"
check "... and it begins afresh" until_true 30 logged $((begun + 2)) "event=training"

# -- consent that is taken back --
mv "$dir/data/home-00.jsonl" "$dir/aside"
check "that its data are gone is said" until_true 30 logged 3 "event=withdrawn\|event=no_data"
check "... and it is idle" until_true 30 status_has '"phase": "idle"'
n=$(grep -c "event=training " "$dir/a/log") # it may have tried more than once before it noticed
mv "$dir/aside" "$dir/data/home-00.jsonl"
check "with its data it is back" until_true 60 logged $((n + 1)) "event=training "
check "SIGTERM ends it well at last" ends_well "$pid"
check "the socket is gone" test ! -e "$dir/a/agent.sock"

# -- nobody there --
check "SIGTERM ends the coordinator well" ends_well "$coordinator"
rm "$dir/a/agent.state"
start_agent
check "without a coordinator it says so" until_true 60 logged 1 "event=no_reply"
check "... and waits for it" status_has '"connected": false'
check "SIGTERM ends it well, alone" ends_well "$pid"
check "SIGTERM ends the directory well" ends_well "$directory"
pids=

# -- other ways than TCP --
comes_over() { # what to listen on; a file for the coordinator, and options of join
    way=$1 pem=$2
    shift 2
    rm -rf "$dir/way" "$dir/b" "$dir/app"
    check "a coordinator at $way" ok "$sternad" init "$dir/way" --listen "$way" --address "127.0.0.1:$port"
    if [ -n "$pem" ]; then
        check "... wants a certificate" fails 1 "needs tls_cert_key" "$sternad" check --config "$dir/way/sternad.conf"
        sed -i "s|^# tls_cert_key = .*|tls_cert_key = $pem|" "$dir/way/sternad.conf"
    fi
    "$sternad" directory --config "$dir/way/directory/directory.conf" 2>"$dir/dir.log" &
    daemons=$!
    "$sternad" run --config "$dir/way/sternad.conf" 2>"$dir/log" &
    daemons="$daemons $!"
    pids=$daemons
    check "... answers" until_true 30 test -S "$dir/way/operator.sock"
    check "... and its directory" until_true 30 test -S "$dir/way/directory/invite.sock"
    check "... invites" ok "$sterna" invite --dir "$dir/way"
    check "... over ${way%%:*}" grep -q "&via=${way%%:*}&" "$dir/out"
    if [ -n "$pem" ]; then
        check "... nobody who does not believe it" fails 1 "does --tls-ca vouch" "$sterna" join "$(cat "$dir/out")" --dir "$dir/b" \
            --tls-ca "$dir/other.crt" --timeout 1
        check "... invites again" ok "$sterna" invite --dir "$dir/way"
    fi
    if [ -n "$pem" ]; then
        check "... an app" ok "$app" join "$(cat "$dir/out")" "$dir/app" "$dir/fleet.crt"
        check "... which remembers the authorities" grep -q "^tls_ca = .*/fleet.crt" "$dir/app/agent.conf"
        check "... invites once more" ok "$sterna" invite --dir "$dir/way"
    fi
    check "... a device, which joins" ok "$sterna" join "$(cat "$dir/out")" --dir "$dir/b" "$@"
    sed -i "s|^# data.TASK = PATH|data.long = $dir/data/home-00.jsonl|" "$dir/b/agent.conf"
    "$agent" run --dir "$dir/b" 2>"$dir/b/log" &
    pid=$!
    pids="$daemons $pid"
    check "... and comes" until_true 30 grep -q "event=connected server=$way" "$dir/b/log"
    for p in $pid $daemons; do
        check "... until it is told to go" ends_well "$p"
    done
    pids=
}

comes_over "ws://127.0.0.1:$port/fleet" ""
if command -v openssl >/dev/null; then
    for name in fleet other; do
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout "$dir/$name.key" -out "$dir/$name.crt" 2>/dev/null
    done
    cat "$dir/fleet.crt" "$dir/fleet.key" >"$dir/fleet.pem"
    comes_over "tls+tcp://127.0.0.1:$port" "$dir/fleet.pem" --tls-ca "$dir/fleet.crt"
    comes_over "wss://127.0.0.1:$port/fleet" "$dir/fleet.pem" --tls-ca "$dir/fleet.crt"
else
    echo "skipped: TLS (no openssl command to make certificates with)"
fi
passed
