# What a live test in shell begins with:  . "$(dirname "$0")/../lib/live.sh"
# A folder $dir that goes when the test ends, and processes in $pids that do not outlive it. Claims are counted; the first that
# is false ends the test and shows what lies in $logs. `passed` is the last line.
set -eu
dir=$(mktemp -d)
pids=
logs="out err" # files below $dir, or patterns of them
n_checks=0
# shellcheck disable=SC2317 # a test may have its own
at_end() { :; }
trap 'for p in $pids; do kill -9 "$p" 2>/dev/null || true; done; at_end; rm -rf "$dir"' EXIT

check() { # what is claimed, then a command
    claim=$1
    shift
    if ! "$@"; then
        echo "failed: $claim"
        for log in $logs; do
            for log in "$dir"/$log; do
                [ ! -s "$log" ] || { echo "${log#"$dir/"}:"; tail -n 40 "$log" | sed 's/^/  /'; }
            done
        done
        exit 1
    fi
    n_checks=$((n_checks + 1))
}

same() { # what is claimed, what is expected, what came: two nothings are not the same
    [ "$2" = "$3" ] || echo "expected \"$2\", got \"$3\""
    check "$1" [ -n "$2" -a "$2" = "$3" ]
}

passed() {
    echo "100%: Checks: $n_checks, Failures: 0, Errors: 0"
}

# -- commands: what they print is in $dir/out and $dir/err --

ends() { # an exit code, then a command
    expected=$1 code=0
    shift
    "$@" >"$dir/out" 2>"$dir/err" </dev/null || code=$?
    [ "$code" = "$expected" ]
}

ok() {
    ends 0 "$@"
}

fails() { # the exit code, words of its error, then a command: one line on stderr
    expected=$1 words=$2
    shift 2
    ends "$expected" "$@" && one_error "$words"
}

one_error() { # words of it
    [ "$(wc -l <"$dir/err")" = 1 ] && grep -q -e "^error: .*$1" "$dir/err"
}

says() { # words on stdout
    grep -q -e "$1" "$dir/out"
}

is_object() { # stdout is one line that begins and ends as an object does, stderr is empty
    [ "$(wc -l <"$dir/out")" = 1 ] && grep -q '^{.*}$' "$dir/out" && [ ! -s "$dir/err" ]
}

number() { # of the object on stdout, or in a file: by its key's first place
    tr ',{}' '\n\n\n' <"${2:-$dir/out}" | sed -n "s/^ *\"$1\": \([0-9.e+-]*\)$/\1/p" | head -n 1
}

holds() { # an inequality, by awk: numbers may be fractions
    awk "BEGIN { exit !($1) }"
}

# -- processes --

until_true() { # seconds at most, then a command
    n=$(($1 * 50))
    shift
    while ! "$@" 2>/dev/null; do
        [ $n -gt 0 ] || return 1
        n=$((n - 1))
        sleep 0.02
    done
}

ends_well() { # a process, when it is told to
    kill -TERM "$1"
    wait "$1"
}

killed() {
    kill -9 "$1"
    wait "$1" 2>/dev/null || true
}
