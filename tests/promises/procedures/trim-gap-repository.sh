#!/usr/bin/env bash
# "Trim gap: recovery procedure" of the operations page, steps 1 to 3, command by command.
# The object store is moto's; any other one that honours conditional puts would do.
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh"
source "$(dirname "${BASH_SOURCE[0]}")/trim-gap.sh"
trim_gap

step "1. Identify whether a snapshot repository is configured and accessible. It is not: set one up."
S3_PORT=$(free_port)
moto_server -H 127.0.0.1 -p "$S3_PORT" > "$SCRATCH/s3.log" 2>&1 &
OTHERS+=($!)
S3=http://127.0.0.1:$S3_PORT
bucket_exists() { curl -sf -o /dev/null -X PUT "$S3/snapshots"; }
within_deadline "the object store has a bucket" bucket_exists
REPOSITORY='[worker.snapshots]
destination = "s3://snapshots/prefix"
aws-region = "us-east-1"
aws-access-key-id = "key"
aws-secret-access-key = "secret"
aws-allow-http = true
aws-endpoint-url = "'$S3'"'
stop 2
stop 1
node 1 "" "$REPOSITORY"
start 1
ready 1

step "2. Publish a snapshot to the repository."
until_shows '\n0 +N1:\d+ +Leader +Active' partitions list
for partition_id in 0 1; do
    ctl snapshots create-snapshot "$partition_id"
    snapshot=$(grep -oE 'snap_[A-Za-z0-9]+' <<< "$OUTPUT")
    echo "\$ curl '$S3/snapshots?list-type=2&prefix=prefix/$partition_id/'"
    curl -sf "$S3/snapshots?list-type=2&prefix=prefix/$partition_id/" | grep -oE "<Key>[^<]*$snapshot[^<]*" | head -n 1 ||
        fail "no entry for $snapshot"
done

step "3. Confirm that the affected node starts up and bootstraps its partition store from a snapshot."
node 2 '"worker"' "$REPOSITORY"
start 2
says 2 "Downloaded partition snapshot"
until_shows "$BOTH_JOINED" partitions list
write_state after
step "Done."
