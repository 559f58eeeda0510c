#!/bin/sh
# The coordinator and its directory as an operator meets them: made, checked, run, asked, stopped, and what is wrong said
# in one line.
#   sternad.sh STERNA STERNAD TOP
. "$(dirname "$0")/../lib/live.sh"
sterna=$1 sternad=$2 top=$3
logs="out err log dir.log"
port=$(python3 "$top/tests/lib/port.py")
id=$(printf %064d 7)

at_end() {
    umount "$dir/small" 2>/dev/null || true
}

wait_for_socket() {
    until_true 30 [ -S "$1" ]
}

answers() { # a coordinator: its socket may be an earlier one's that was killed
    until_true 30 "$sterna" status --dir "$1" >"$dir/status"
}

fleet=$dir/fleet
check "init makes a folder" ok "$sternad" init "$fleet" --listen "tcp://127.0.0.1:$port" --address "127.0.0.1:$port"
check "init says what comes next" says "sternad run --config"
check "init does not touch a folder that is one" fails 1 "there is a coordinator" "$sternad" init "$fleet"
check "keys are their owner's alone" [ "$(stat -c %a "$fleet/keys/coordinator.key" "$fleet/directory/keys/directory.key" | tr '\n' ' ')" = "600 600 " ]
check "check finds it fine" ok "$sternad" check --config "$fleet/sternad.conf"
check "check --json is an object" ok "$sternad" check --config "$fleet/sternad.conf" --json
check "... with the key" says '"key": *"[0-9a-f]\{64\}"'

check "a config that is missing is named" fails 1 "nowhere.conf" "$sternad" run --config "$dir/nowhere.conf"
sed 's/^listen/lisden/' "$fleet/sternad.conf" >"$fleet/broken.conf"
check "a key that nobody knows is named" fails 1 "lisden" "$sternad" check --config "$fleet/broken.conf"
check "no config is wrong usage" sh -c '! "$1" run 2>/dev/null; "$1" run 2>/dev/null || [ $? = 2 ]' - "$sternad"
chmod 644 "$fleet/keys/coordinator.key"
check "a key that others may read is refused" fails 1 "others may read this key" "$sternad" run --config "$fleet/sternad.conf"
chmod 600 "$fleet/keys/coordinator.key"
mv "$fleet/keys/coordinator.key" "$dir/aside"
check "a missing key is named" fails 1 "coordinator.key: the key is missing" "$sternad" check --config "$fleet/sternad.conf"
mv "$dir/aside" "$fleet/keys/coordinator.key"
check "without a coordinator the commands say so" fails 1 "no coordinator answers" "$sterna" status --dir "$fleet"

"$sternad" directory --config "$fleet/directory/directory.conf" 2>"$dir/dir.log" &
directory=$!
"$sternad" run --config "$fleet/sternad.conf" 2>"$dir/log" &
coordinator=$!
pids="$directory $coordinator"
check "the coordinator answers" answers "$fleet"
check "the directory answers" wait_for_socket "$fleet/directory/directory.sock"
check "their sockets are their owner's alone" [ "$(stat -c %a "$fleet/operator.sock" "$fleet/directory/directory.sock" \
    "$fleet/directory/invite.sock" | tr '\n' ' ')" = "600 600 600 " ]
check "a second process on the folder is refused" fails 1 "in use by process $coordinator" "$sternad" run --config "$fleet/sternad.conf"
check "another folder" ok "$sternad" init "$dir/other" --listen "tcp://127.0.0.1:$port"
check "init refuses what is no URL to listen on" fails 2 "listen is \"7740\", expected tcp://" "$sternad" init "$dir/third" --listen 7740
check "... and no address that devices could be told" fails 2 "address is \"here\", expected HOST:PORT" "$sternad" init "$dir/third" --address here
check "... and no group without a folder for it" fails 2 "a folder of its own" "$sternad" init "$dir/third" --group 1
check "... and no group that is not there" fails 2 "no group \"nobodys-own\"" "$sternad" init "$dir/third" --directory "$dir/fourth" --group nobodys-own
check "... and makes nothing" [ ! -e "$dir/third" -a ! -e "$dir/fourth" ]
sed 's|^listen = .*|listen = 7740|' "$dir/other/sternad.conf" >"$dir/other/wrong.conf"
check "check says what run would" fails 1 "wrong.conf, \[server\]: listen is \"7740\"" "$sternad" check --config "$dir/other/wrong.conf"
check "a port in use is named" fails 1 "127.0.0.1:$port" "$sternad" run --config "$dir/other/sternad.conf"

cat >"$dir/home.ini" <<INI
[task]
name = home
rounds = 3
[model]
base = base.gguf
[cohort]
target = 6
n_min = 4
secure = off
INI
check "a base that is not there is named" fails 1 "base.gguf" "$sterna" task create "$dir/home.ini" --dir "$fleet"
cp "$top/deploy/models/home-base.gguf" "$dir/base.gguf"
check "a task is created" ok "$sterna" task create "$dir/home.ini" --dir "$fleet"
check "... from another place too, when it is the same model" ok "$sterna" task create "$dir/home.ini" \
    --model "$top/deploy/models/home-base.gguf" --dir "$fleet"
check "the same again is fine" ok "$sterna" task create "$dir/home.ini" --dir "$fleet"
sed -i 's/rounds = 3/rounds = 4/' "$dir/home.ini"
check "another of its name is not" fails 1 "other settings" "$sterna" task create "$dir/home.ini" --dir "$fleet"
sed -i 's/secure = off/secure = on/' "$dir/home.ini"
check "what no secure round can keep to is said" fails 1 "n_min of 4" "$sterna" task create "$dir/home.ini" --dir "$fleet"
check "tasks are listed" ok "$sterna" task list --dir "$fleet"
check "... with their state" says "home .*running"
check "a task is shown" ok "$sterna" task show home --dir "$fleet" --json
check "... with its settings" says '"local_steps": *5'
check "... and targets by name" says '"targets": *"q,k,v,o,gate,up,down"'
check "people read it without JSON" ok "$sterna" task show home --dir "$fleet"
check "... in rows" says '^  clip_quantile *0\.9$'
check "... and what is so is a yes" says '^  secure *no$'
check "... and what is not there is a dash" says '^round *-$'
check "a task that is not there is named" fails 1 'no task "away"' "$sterna" task show away --dir "$fleet"
check "a task is paused" ok "$sterna" task pause home --dir "$fleet"
check "... and says so" says "paused"

check "invites are join URLs" ok "$sterna" invite -n 2 --dir "$fleet"
check "... two of them" [ "$(grep -c "^sterna://127.0.0.1:$port/?key=[0-9a-f]*&dir=[0-9a-f]*&token=[0-9a-f]*\$" "$dir/out")" = 2 ]
check "the directory's folder does for them, too" ok "$sterna" invite --dir "$fleet/directory"
check "the status has what the process took" ok "$sterna" status --dir "$fleet" --json
check "... memory" says "\"peak_rss_bytes\": [1-9]"
check "... what it waited for the disk" says "\"commits\": [1-9]"
check "... and what went over the wire" says "\"bytes_in\": [0-9]"
check "what can be learned of a device is said" ok "$sterna" privacy --dir "$fleet"
check "... of a task without secure rounds" says "task home: NOT secure"
check "... and who can read the directory's key" says "its key CAN be read"
check "... and mint invites" says "the coordinator CAN mint them"
sed 's/^name = home/name = away/; s/^secure = .*/secure = yes/; s/^n_min = .*/n_min = 5/; s/^target = .*/target = 20/' "$dir/home.ini" >"$dir/away.ini"
check "a secure task is created" ok "$sterna" task create "$dir/away.ini" --dir "$fleet"
check "what it promises is said" ok "$sterna" privacy --dir "$fleet"
check "... of a full round" says "a full round of 20: holds against 2 of them, goes on without 2; 19 neighbours each, 12 open"
sed "s|^directory = .*|directory = $dir/away/directory.sock|" "$fleet/sternad.conf" >"$fleet/apart.conf"
check "SIGTERM ends the coordinator" ends_well "$coordinator"
"$sternad" run --config "$fleet/apart.conf" 2>"$dir/log" &
coordinator=$!
pids="$directory $coordinator"
check "it runs with a directory that is elsewhere" answers "$fleet"
check "of its files nothing is known" ok "$sterna" privacy --dir "$fleet" --json
check "... not whether the key is readable" says "\"key_is_readable\": null"
check "... nor who can mint invites" says "\"can_invite\": null"
check "people are told so" ok "$sterna" privacy --dir "$fleet"
check "... of the key" says "its key is not beside its socket: who can read it is not known"
check "... and of invites" says "who can mint them is not known"
check "SIGTERM ends that, too" ends_well "$coordinator"
"$sternad" run --config "$fleet/sternad.conf" 2>"$dir/log" &
coordinator=$!
pids="$directory $coordinator"
check "and it is there as it was" answers "$fleet"
check "devices are listed" ok "$sterna" device list --dir "$fleet" --json
check "who is in no quarantine is not let out of it" fails 1 "device $id is not in quarantine" "$sterna" device release $id --dir "$fleet"
check "what is no device is said" fails 1 "64 hex digits" "$sterna" device release 0123 --dir "$fleet"
check "adapters are listed" ok "$sterna" adapter list home --dir "$fleet"

kill -HUP "$coordinator" "$directory"
check "SIGHUP: the coordinator answers" ok "$sterna" status --dir "$fleet"
sleep 0.2
check "... a while later too" ok "$sterna" status --dir "$fleet"
check "... and the directory" ok "$sterna" invite --dir "$fleet"
check "... it ends neither" sh -c '! grep -q "event=stopping" "$@"' - "$dir/log" "$dir/dir.log"

# a directory that does not answer, and strangers who ask for it
sed 's/token=......../token=00000000/' "$dir/out" >"$dir/strange"
sed -i 's/^level = info/level = debug/' "$fleet/sternad.conf"
check "SIGTERM ends the coordinator" ends_well "$coordinator"
"$sternad" run --config "$fleet/sternad.conf" 2>"$dir/log" &
coordinator=$!
pids="$directory $coordinator"
check "it is there again" answers "$fleet"
kill -STOP "$directory"
strangers=
for i in $(seq 40); do
    "$sterna" join "$(cat "$dir/strange")" --dir "$dir/stranger-$i" --timeout 2 2>"$dir/strangers" &
    strangers="$strangers $!"
done
check "they do not take every request" until_true 30 grep -q "event=enrolment_later waiting=32" "$dir/log"
for i in $strangers; do
    wait "$i" || true
done
kill -CONT "$directory"
check "a device that is invited joins behind them" ok "$sterna" join "$(cat "$dir/out")" --dir "$dir/invited" --timeout 60

kill -9 "$coordinator"
wait "$coordinator" 2>/dev/null || true
"$sternad" run --config "$fleet/sternad.conf" 2>>"$dir/log" &
coordinator=$!
pids="$directory $coordinator"
check "after a crash the coordinator answers" answers "$fleet"
check "... the status" ok "$sterna" status --dir "$fleet"
check "... and the task is as it was" says "home: paused, version 0 of 3"
check "SIGTERM ends the directory well" ends_well "$directory"
check "without the directory an invite says so" fails 1 "$fleet/invite.sock: no directory answers there: start .sternad directory." "$sterna" invite --dir "$fleet"
check "... and names its own folder" fails 1 "$fleet/directory/invite.sock: no directory" "$sterna" invite --dir "$fleet/directory"
check "SIGTERM ends the coordinator well" ends_well "$coordinator"
pids=
check "its socket is gone" [ ! -e "$fleet/operator.sock" ]

# a crowd that takes every descriptor
fleet=$dir/crowded
check "a folder for a crowd" ok "$sternad" init "$fleet" --listen "tcp://127.0.0.1:$port" --address "127.0.0.1:$port"
sed -i 's/^# threads = 0/threads = 2/' "$fleet/sternad.conf" # each has descriptors of its own
check "too few descriptors for a start are said" fails 1 "may hold 64 files open" sh -c 'ulimit -n 64; exec "$@"' - "$sternad" run --config "$fleet/sternad.conf"
"$sternad" directory --config "$fleet/directory/directory.conf" 2>"$dir/dir.log" &
directory=$!
(ulimit -n 256; exec "$sternad" run --config "$fleet/sternad.conf") 2>"$dir/log" &
coordinator=$!
pids="$directory $coordinator"
check "a coordinator with few descriptors answers" answers "$fleet"
check "... and the directory" wait_for_socket "$fleet/directory/invite.sock"
check "... a line says that they are few" grep -q "event=few_files files=256 connections=1" "$dir/log"
check "a device is invited" ok "$sterna" invite --dir "$fleet"
cp "$dir/out" "$dir/url"
mkfifo "$dir/stay"
python3 "$top/tests/lib/crowd.py" "$port" 300 <"$dir/stay" >"$dir/crowd" &
crowd=$!
pids="$pids $crowd"
exec 9>"$dir/stay"
check "the crowd is there" until_true 60 [ -s "$dir/crowd" ]
check "... as many as there is room for" holds "$(cat "$dir/crowd") > 100"
check "the coordinator lives" kill -0 "$coordinator"
exec 9>&-
check "the crowd leaves" wait "$crowd"
check "then a device joins" ok "$sterna" join "$(cat "$dir/url")" --dir "$dir/late"
check "SIGTERM ends the coordinator of a crowd well" ends_well "$coordinator"
check "... and the directory" ends_well "$directory"
pids=

# two users: the coordinator can have devices enrolled that have an invite, and can make none itself
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    as=$dir/as # a number for user and group, then a command
    printf '%s\n' '#!/bin/sh' 'n=$1' 'shift' 'exec setpriv --reuid "$n" --regid "$n" --clear-groups "$@"' >"$as"
    chmod 755 "$as"
    chmod 711 "$dir"
    cp "$sternad" "$dir/sternad"
    cp "$sterna" "$dir/sterna"
    fleet=$dir/two apart=$dir/apart coordinators=54321 directorys=54322
    check "a directory apart is made" ok "$sternad" init "$fleet" --listen "tcp://127.0.0.1:$port" --address "127.0.0.1:$port" \
        --directory "$apart" --group $coordinators
    check "... and said to be" says "sternad directory --config $apart/directory.conf"
    chown -R $coordinators:$coordinators "$fleet"
    chown -R $directorys:$coordinators "$apart"
    "$as" $directorys "$dir/sternad" directory --config "$apart/directory.conf" 2>"$dir/dir.log" &
    directory=$!
    "$as" $coordinators "$dir/sternad" run --config "$fleet/sternad.conf" 2>"$dir/log" &
    coordinator=$!
    pids="$directory $coordinator"
    check "the directory answers as another user" wait_for_socket "$apart/directory.sock"
    check "... and the coordinator" answers "$fleet"
    check "the coordinator's user gets no invite" fails 1 "invite.sock: Permission denied" \
        "$as" $coordinators "$dir/sterna" invite --socket "$apart/invite.sock"
    check "... not the way round either" fails 1 "invite.sock" "$as" $coordinators "$dir/sterna" invite --dir "$fleet"
    check "... nor from the socket it may open" fails 1 "knows key, status and enrol here" \
        "$as" $coordinators "$dir/sterna" invite --socket "$apart/directory.sock"
    check "... nor reads a token" sh -c '! "$@" 2>/dev/null' - "$as" $coordinators cat "$apart/directory.db"
    check "... nor its config" sh -c '! "$@" 2>/dev/null' - "$as" $coordinators cat "$apart/directory.conf"
    check "the directory's user does" ok "$as" $directorys "$dir/sterna" invite --dir "$apart"
    check "... and a device joins with it" ok "$sterna" join "$(cat "$dir/out")" --dir "$dir/device"
    check "what the coordinator can do is said" ok "$sterna" privacy --dir "$fleet"
    check "... it cannot read the key" says "its key cannot be read"
    check "... nor make invites" says "the coordinator cannot mint them"
    chmod 2730 "$apart"
    check "who may write beside them can put others in their place" ok "$sterna" privacy --dir "$fleet"
    check "... of the key" says "its key CAN be read"
    check "... and of the invites" says "the coordinator CAN mint them"
    chmod 2710 "$apart"
    check "no other user's directory is believed, root's is none" fails 1 "user $directorys answers there, and user 0 asks" "$sterna" invite --dir "$fleet"
    check "... neither in the directory's folder" fails 1 "ask as the directory's user, or name its --socket" "$sterna" invite --dir "$apart"
    check "... but where it is named" ok "$sterna" invite --socket "$apart/invite.sock"
    check "SIGTERM ends both well" ends_well "$coordinator"
    check "... the directory too" ends_well "$directory"
    python3 -c 'import os, socket, sys
os.setgid(int(sys.argv[3]))
os.setuid(int(sys.argv[3]))
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
asked = s.accept()[0].makefile("rw")
print(asked.readline(), file=open(sys.argv[2], "w"), end="")
asked.write("""{"ok":true,"urls":["sterna://mallory"]}\n""")' "$fleet/invite.sock" "$fleet/asked" $coordinators &
    mallory=$!
    pids=$mallory
    check "the coordinator's user plays the directory in his folder" wait_for_socket "$fleet/invite.sock"
    check "... and is not asked" fails 1 "user $coordinators answers there" "$sterna" invite --dir "$fleet"
    check "... nor told a word" until_true 10 [ -e "$fleet/asked" -a ! -s "$fleet/asked" ]
    wait "$mallory" || true
    pids=
else
    echo "skipped: two users (no right to be another)"
fi

# a disk that is full, where we may mount one
mkdir "$dir/small"
if mount -t tmpfs -o size=4m tmpfs "$dir/small" 2>/dev/null; then
    fleet=$dir/small/fleet
    sed -i 's/secure = on/secure = off/' "$dir/home.ini"
    check "a folder on a small disk" ok "$sternad" init "$fleet" --listen "tcp://127.0.0.1:$port"
    "$sternad" run --config "$fleet/sternad.conf" 2>"$dir/log" &
    coordinator=$!
    pids=$coordinator
    check "its coordinator answers" answers "$fleet"
    dd if=/dev/zero of="$dir/small/fill" bs=1k count=3000 2>/dev/null
    check "a model that does not fit is refused" fails 1 "No space left" "$sterna" task create "$dir/home.ini" --dir "$fleet"
    rm "$dir/small/fill"
    check "and fits once there is room" ok "$sterna" task create "$dir/home.ini" --dir "$fleet"
    check "... the coordinator lived" ends_well "$coordinator"
    "$sternad" run --config "$fleet/sternad.conf" 2>"$dir/log" &
    coordinator=$!
    pids=$coordinator
    check "it starts again" answers "$fleet"
    dd if=/dev/zero of="$dir/small/fill" bs=1k 2>/dev/null || true
    check "what cannot be written is not promised" fails 1 "" timeout 20 "$sterna" task pause home --dir "$fleet"
    code=0
    wait "$coordinator" || code=$?
    pids=
    check "the process ends" [ "$code" = 1 ]
    check "... and says why in one line" [ "$(grep -c 'level=error event=[a-z]*_failed code=full' "$dir/log")" = 1 ]
    rm "$dir/small/fill"
    "$sternad" run --config "$fleet/sternad.conf" 2>"$dir/log" &
    coordinator=$!
    pids=$coordinator
    check "with room it runs again" answers "$fleet"
    check "... and the task is as it was" sh -c '"$1" task list --dir "$2" | grep -q "home .*running"' - "$sterna" "$fleet"
    check "SIGTERM ends it well" ends_well "$coordinator"
    pids=
    umount "$dir/small"
else
    echo "skipped: a full disk (no right to mount one)"
fi
passed
