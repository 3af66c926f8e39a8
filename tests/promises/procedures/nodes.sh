# What the procedures beside this file share: real nodes in a scratch directory, and a way to show each
# command, run it, and check what it prints. Sourced, not run. Needs restate-node and restatectl on PATH.
#
#   node 1 [ROLES [TABLES]]        writes node-1.toml
#   start 1 / stop 1 / ready 1     SIGTERM stops; ready waits for the ready line of this life
#   aborts 1 TEXT                  it must end by itself and say TEXT
#   says 1 TEXT                    it must say TEXT in this life, and go on
#   ctl COMMAND...                 restatectl as on the operations page; must succeed
#   until_shows PATTERN COMMAND... the same, repeated until it prints PATTERN
#   write_state KEY                an acknowledged write

set -euo pipefail
DEADLINE_S=${DEADLINE_S:-60}
SCRATCH=$(mktemp -d)
OUTPUT=""
declare -A PIDS=() FABRIC=() ADMIN=() INGRESS=() SAID=()
OTHERS=() # further processes to end

finish() {
    for pid in "${PIDS[@]}" "${OTHERS[@]}"; do
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$SCRATCH"
}
trap finish EXIT
trap 'exit 143' TERM INT

fail() { echo "FAILED: $*" >&2; for log in "$SCRATCH"/*.log; do echo "--- $log"; tail -n 12 "$log"; done >&2; exit 1; }
step() { printf '\n# %s\n' "$*"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

node() {
    local number=$1 roles=${2:-} tables=${3:-}
    FABRIC[$number]=${FABRIC[$number]:-$(free_port)}
    ADMIN[$number]=${ADMIN[$number]:-$(free_port)}
    INGRESS[$number]=${INGRESS[$number]:-$(free_port)}
    {
        echo "node-name = \"${NAME:-node-$number}\""
        echo "cluster-name = \"procedure\""
        echo "base-dir = \"$SCRATCH/data-$number\""
        echo "bind-ip = \"127.0.0.1\""
        echo "bind-port = ${FABRIC[$number]}"
        echo "advertised-address = \"http://127.0.0.1:${FABRIC[$number]}/\""
        echo "admin.bind-port = ${ADMIN[$number]}"
        echo "ingress.bind-port = ${INGRESS[$number]}"
        echo "auto-provision = $([ "$number" = 1 ] && echo true || echo false)"
        echo "metadata-client.addresses = [\"http://127.0.0.1:${FABRIC[1]}/\"]"
        echo "bifrost.default-provider = \"replicated\""
        echo "default-num-partitions = 2"
        echo "default-replication = ${REPLICATION:-1}"
        if [ -n "$roles" ]; then echo "roles = [$roles]"; fi
        printf '%s\n' "$tables"
    } > "$SCRATCH/node-$number.toml"
}

start() {
    local log="$SCRATCH/node-$1.log"
    echo "\$ restate-node --config node-$1.toml &"
    touch "$log"
    SAID[$1]=$(wc -c < "$log")
    restate-node --config "$SCRATCH/node-$1.toml" >> "$log" 2>&1 < /dev/null &
    PIDS[$1]=$!
}

stop() {
    echo "\$ kill $1"
    kill "${PIDS[$1]}"
    wait "${PIDS[$1]}" || fail "node $1 did not stop in order"
    unset "PIDS[$1]"
}

said_in_this_life() { tail -c "+$((SAID[$1] + 1))" "$SCRATCH/node-$1.log"; }
within_deadline() { # until a command succeeds; $1 says what is waited for
    local what=$1 end=$((SECONDS + DEADLINE_S)); shift
    until "$@"; do [ $SECONDS -lt $end ] || fail "not within $DEADLINE_S s: $what"; sleep 0.2; done
}
has_said() { said_in_this_life "$1" | grep -qF -- "$2"; }
says() { within_deadline "node $1 says: $2" has_said "$1" "$2"; said_in_this_life "$1" | grep -F -- "$2" | tail -n 1; kill -0 "${PIDS[$1]}"; }
ready() { within_deadline "node $1 is ready" has_said "$1" " ready node="; }
has_ended() { ! kill -0 "${PIDS[$1]}" 2>/dev/null; }

aborts() {
    within_deadline "node $1 ends by itself" has_ended "$1"
    local code=0
    wait "${PIDS[$1]}" || code=$?
    unset "PIDS[$1]"
    [ "$code" = 1 ] || fail "node $1 ended with $code"
    said_in_this_life "$1" | grep -F -- "$2" || fail "node $1 does not say: $2"
}

addresses() { local list="" number; for number in "${!PIDS[@]}"; do list="$list${list:+,}http://127.0.0.1:${FABRIC[$number]}/"; done; echo "$list"; }
shows() { grep -qE -- "$1" <<< "$OUTPUT" || fail "it does not show: $1"; }
absent() { ! grep -qE -- "$1" <<< "$OUTPUT" || fail "it still shows: $1"; }

ctl() {
    echo "\$ restatectl $*"
    OUTPUT=$(RESTATECTL_ADDRESS=$(addresses) restatectl "$@" 2>&1) || fail "restatectl $*: $OUTPUT"
    echo "$OUTPUT"
}

prints() { local pattern=$1; shift; OUTPUT=$(RESTATECTL_ADDRESS=$(addresses) restatectl "$@" 2>&1) && grep -qzP -- "$pattern" <<< "$OUTPUT"; }
until_shows() { # PATTERN, a Perl expression over all lines; then the command
    local pattern=$1; shift
    within_deadline "restatectl $* shows $pattern" prints "$pattern" "$@"
    echo "\$ restatectl $*"
    echo "$OUTPUT"
}

is_acknowledged() {
    [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 10 "http://127.0.0.1:${ADMIN[1]}/services/counter/state" \
        -H 'content-type: application/json' -d "{\"object_key\": \"$1\", \"new_state\": {}}")" = 202 ]
}
write_state() { for number in 1 2 3 4 5 6; do within_deadline "$1-$number is acknowledged" is_acknowledged "$1-$number"; done; }
