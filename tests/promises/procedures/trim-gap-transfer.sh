#!/usr/bin/env bash
# "Trim gap: recovery procedure" of the operations page, step 2b, command by command: the snapshot
# travels by hand.
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh"
source "$(dirname "${BASH_SOURCE[0]}")/trim-gap.sh"
trim_gap

step "2b. Identify an up-to-date node which is running the partition."
until_shows '\n0 +N1:\d+ +Leader +Active' partitions list

step "On this node, configure a local destination. Restart the node."
mkdir "$SCRATCH/snapshots-repository" "$SCRATCH/transferred"
stop 1
node 1 "" "[worker.snapshots]
destination = \"file://$SCRATCH/snapshots-repository\""
start 1
ready 1

step "Create snapshots for the affected partitions."
until_shows '\n1 +N1:\d+ +Leader +Active' partitions list
for partition_id in 0 1; do ctl snapshots create-snapshot "$partition_id"; done

step "Copy the contents of the repository to the node experiencing issues, and point it there."
echo "\$ cp -r snapshots-repository/. transferred/"
cp -r "$SCRATCH/snapshots-repository/." "$SCRATCH/transferred/"
stop 2
node 2 '"worker"' "[worker.snapshots]
destination = \"file://$SCRATCH/transferred\""
start 2

step "3. Confirm that the affected node starts up and bootstraps its partition store from a snapshot."
says 2 "Downloaded partition snapshot"
until_shows "$BOTH_JOINED" partitions list
write_state after
step "Done."
