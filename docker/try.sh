#!/bin/sh
# Tries the image on a compose file, with podman or docker:
#   builds, starts, waits for health and leaders, asks restatectl, writes; takes snapshots, trims the
#   logs behind them and verifies what the store holds; kills one node, waits for its leaders to
#   move, writes again; starts the node again without its partition stores, which it must take from
#   the snapshots; tears everything down. Each check is a line, "ok" or "not ok".
#
#   docker/try.sh                      docker/compose.yml
#   docker/try.sh docker-compose.yml   another file, such as Restate's own: see README.md for what changes
#
# Variables: ENGINE podman or docker · BASE_IMAGE, BUILD_FLAGS for the build (see Dockerfile)
#            S3_IMAGE the store; if it cannot be pulled, Dockerfile.s3 stands in
#            PUBLISH no: leave the ports of this machine alone · WAIT_MAX seconds for each wait
set -eu

here=$(cd "$(dirname "$0")" && pwd)
compose_file=${1:-$here/compose.yml}
project=restate-try
image=localhost/restate-node:latest
stand_in=localhost/s3-stand-in:latest
wait_max=${WAIT_MAX:-120}

say() { printf '\n== %s\n' "$*"; }
checks=0
ok() { checks=$((checks + 1)); printf 'ok %s - %s\n' "$checks" "$*"; }
fail() { printf 'not ok %s - %s\n' "$((checks + 1))" "$*" >&2; exit 1; }

choose_engine() {
    for candidate in ${ENGINE:-podman docker}; do
        "$candidate" info > "$scratch/info" 2>&1 && engine=$candidate && break
    done
    [ -n "${engine:-}" ] || fail "no working podman or docker: install one, or start its service"
    if "$engine" compose version > "$scratch/info" 2>&1; then
        compose="$engine compose"
    elif [ "$engine" = podman ] && podman-compose version > "$scratch/info" 2>&1; then
        compose=podman-compose
    else
        fail "$engine has no compose: install docker-compose-plugin or podman-compose"
    fi
}

# Arguments: Dockerfile, name of the image. Podman keeps health checks only in docker's format.
build() {
    format=
    [ "$engine" = docker ] || format='--format docker'
    # shellcheck disable=SC2086
    "$engine" build $format ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} ${BUILD_FLAGS:-} \
        -f "$here/$1" -t "$2" "$here/.." > "$scratch/build" 2>&1 \
        || { tail -20 "$scratch/build" >&2; fail "$1 does not build"; }
    ok "$1 builds"
}

choose_store() {
    store=${S3_IMAGE:-quay.io/minio/minio}
    "$engine" image inspect "$store" > "$scratch/pull" 2>&1 && return
    "$engine" pull "$store" > "$scratch/pull" 2>&1 && return
    echo "$store cannot be pulled: $stand_in stands in"
    build Dockerfile.s3 "$stand_in"
    store=$stand_in
}

# The file that is tried, with our images. Podman before 4.7 does not know the word host-gateway.
prepare() {
    sed -e "s|image: *docker.restate.dev/[^ ]*|image: $image|" \
        -e "s|image: *ghcr.io/restatedev/restate[^ ]*|image: $image|" \
        -e "s|image: *quay.io/minio/minio[^ ]*|image: $store|" "$compose_file" > "$scratch/compose.yml"
    if ! "$engine" run --rm --add-host host:host-gateway --entrypoint true "$image" \
        > "$scratch/run" 2>&1; then
        sed -i "/extra_hosts:/d; /host-gateway/d" "$scratch/compose.yml"
    fi
    if [ "${PUBLISH:-yes}" = no ]; then
        sed -i '/^ *ports:/d; /^ *- "[0-9]*:[0-9]*"/d' "$scratch/compose.yml"
    fi
}

run_compose() {
    RESTATE_IMAGE=$image S3_IMAGE=$store $compose -p $project -f "$scratch/compose.yml" "$@" \
        >> "$scratch/compose" 2>&1
}

tear_down() {
    code=$?
    trap - EXIT
    if [ -n "${started:-}" ]; then
        [ "$code" = 0 ] || show_ends
        say "tear down"
        run_compose down -v || tail -5 "$scratch/compose" >&2
    fi
    rm -rf "$scratch"
    exit "$code"
}

show_ends() {
    grep -i error "$scratch/compose" >&2 || true
    for node in $nodes; do
        say "$node: its last lines"
        "$engine" logs --tail 15 "$(container "$node")" 2>&1 || true
    done
}

# The container of a service, also a stopped one.
container() {
    "$engine" ps -aq --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$1"
}

# Podman runs health checks by itself only under systemd: ask for one.
is_healthy() {
    if [ "$engine" = podman ]; then
        podman healthcheck run "$(container "$1")" > "$scratch/health" 2>&1
    else
        [ "$(docker inspect -f '{{.State.Health.Status}}' "$(container "$1")")" = healthy ]
    fi
}

# A port that is taken shows here: not every compose reports it.
check_running() {
    for service in $nodes minio; do
        running=$("$engine" inspect -f '{{.State.Running}}' "$(container "$service")" 2>&1) || true
        [ "$running" = true ] || fail "$service does not run: see below; if a port is taken, PUBLISH=no"
        ok "$service runs"
    done
}

are_healthy() { for node in $nodes; do is_healthy "$node" || return 1; done; }

restatectl() { "$engine" exec "$(container "$observer")" restatectl "$@"; }

# One line for each partition with an active leader: the node that leads it.
leaders() {
    restatectl partitions list 2> "$scratch/leaders" \
        | awk '$3 == "Leader" && $4 == "Active" { sub(":.*", "", $2); leader[$1] = $2 }
               END { for (id in leader) print leader[id] }'
}

is_founded() {
    partitions=$(restatectl config get 2> "$scratch/config" | sed -n 's/.*Number of partitions: *//p')
    [ -n "$partitions" ]
}

all_led() { [ "$(leaders | wc -l)" -eq "$partitions" ]; }
all_led_without_victim() { all_led && ! leaders | grep -qx "$victim_id"; }
is_back() { is_healthy "$victim" && [ "$(generation)" -gt "$generation_before" ]; }
generation() { restatectl nodes list | awk -v id="$victim_id" '$1 == id { print $2; exit }'; }

# Arguments: what is awaited, the function that tells.
await() {
    began=$(date +%s)
    until "$2"; do
        [ $(($(date +%s) - began)) -lt "$wait_max" ] || fail "not within $wait_max s: $1"
        sleep 1
    done
    ok "$1: after $(($(date +%s) - began)) s"
}

# State writes through the admin port, after a deployment that only says what it is was registered:
# the answer comes when the log has committed the record.
write() {
    "$engine" exec "$(container "$observer")" python3 -c '
import http.server, json, sys, threading, urllib.request
handlers = [{"name": "add"}]
manifest = {"protocolMode": "REQUEST_RESPONSE", "minProtocolVersion": 5, "maxProtocolVersion": 7,
            "services": [{"name": "counter", "ty": "VIRTUAL_OBJECT", "handlers": handlers}]}
class Discovery(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "application/vnd.restate.endpointmanifest.v4+json")
        self.end_headers()
        self.wfile.write(json.dumps(manifest).encode())
def post(path, content):
    head = {"content-type": "application/json"}
    request = urllib.request.Request(f"http://{sys.argv[1]}:9070/{path}",
                                     json.dumps(content).encode(), head)
    return urllib.request.urlopen(request, timeout=30).status
server = http.server.HTTPServer(("127.0.0.1", 0), Discovery)
threading.Thread(target=server.serve_forever, daemon=True).start()
uri = f"http://127.0.0.1:{server.server_port}/"
status = post("deployments", {"uri": uri, "use_http_11": True})
assert status in (200, 201), status
for number in range(20):
    state = {"object_key": f"key-{number}", "new_state": {"count": [49]}}
    status = post("services/counter/state", state)
    assert status == 202, status' "$observer" > "$scratch/write" 2>&1 \
        || { tail -3 "$scratch/write" >&2; fail "20 writes: see above"; }
    ok "20 writes are committed"
}

# Arguments: what is checked, the command of restatectl.
ask() {
    what=$1
    shift
    restatectl "$@" || fail "$what: restatectl $*"
    ok "$what"
}

has_snapshots() { grep -q SNAPSHOTS__DESTINATION "$scratch/compose.yml"; }

# The log of a partition is trimmed behind its snapshot: only that can bring the state back.
take_snapshots() {
    ask "a snapshot of every partition is in the store" snapshots create-snapshot all --trim-log
    restatectl snapshots list
    ask "every snapshot is whole" snapshots verify
}

# The volume is one for all nodes. Only a stopped node may lose files.
remove_partition_stores() {
    "$engine" exec "$(container "$observer")" rm -r "/restate-data/$victim/db" \
        || fail "$victim has no partition stores in /restate-data/$victim/db"
}

has_downloaded() {
    "$engine" logs "$(container "$victim")" 2>&1 | grep -q "Downloaded partition snapshot"
}

scratch=$(mktemp -d)
trap tear_down EXIT
trap 'exit 130' INT TERM
nodes="restate-1 restate-2 restate-3"
observer=restate-1

choose_engine
say "build with $engine"
build Dockerfile "$image"
choose_store
prepare

say "start $compose_file with $compose"
started=yes
run_compose up -d --no-build || fail "the containers do not start"
check_running
await "three nodes answer" are_healthy
await "the cluster is founded" is_founded
await "$partitions partitions are led" all_led
ask "restatectl sees the cluster" status
restatectl nodes list
write
if has_snapshots; then
    say "snapshots"
    take_snapshots
else
    say "no snapshots: the file names no destination"
fi

victim_id=$(leaders | grep -v '^N1$' | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }')
[ -n "$victim_id" ] || victim_id=N1
victim=$(restatectl nodes list | awk -v id="$victim_id" '$1 == id { print $3; exit }')
[ "$victim" != "$observer" ] || observer=restate-2
generation_before=$(generation)
say "kill $victim ($victim_id), which leads $(leaders | grep -cx "$victim_id") partitions"
"$engine" kill "$(container "$victim")" > "$scratch/kill"
await "the other nodes lead all $partitions" all_led_without_victim
restatectl partitions list
write

if has_snapshots; then
    remove_partition_stores
    say "start $victim again, without its partition stores"
else
    say "start $victim again"
fi
"$engine" start "$(container "$victim")" > "$scratch/start"
await "$victim is back with a higher generation" is_back
restatectl nodes list
await "$partitions partitions are led" all_led
if has_snapshots; then
    await "$victim has taken partition stores from snapshots" has_downloaded
    ask "the snapshots are still whole" snapshots verify all
fi
say "everything worked: $checks checks"
