#!/usr/bin/env bash
# "A node id was used again" of the operations page, command by command.
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh"
LINE='Node cannot start a log-server on N3, it has detected that it has lost its data. storage-state is `data-loss`'
REPLICATION=2

step "A cluster of three that is in use."
for number in 1 2 3; do node $number; start $number; ready $number; done
until_shows '\n0 .*Leader.*\n1 .*Leader|\n0 .*Leader[^$]*\n1 .*Leader' partitions list
write_state before

step "A misconfigured node: the name of node-3, and a directory of its own. It aborts."
NAME=node-3 node 4
start 4
aborts 4 "$LINE"

step "Restarting the node that owned the id: the same line."
if has_ended 3; then unset "PIDS[3]"; else stop 3; fi
start 3
aborts 3 "$LINE"

step "Delete the misconfigured node: there is no data on it."
rm -r "$SCRATCH/data-4" "$SCRATCH/node-4.toml"

step "The reused id is marked, and the control plane avoids it."
ctl replicated-loglet servers
shows '^N3 +N3:[0-9]+ +data-loss '
shows '^N1 +N1:[0-9]+ +read-write '
until_shows '(?s)\n0 [^\n]*\[N1, N2\]\n1 [^\n]*\[N1, N2\]' logs list
until_shows '\nN3 +N3:\d+ +data-loss +\d+ +0\b' replicated-loglet servers
write_state meanwhile

step "Its data is intact, so return it to service."
ctl replicated-loglet set-storage-state --node 3 --storage-state 'read-write' --force
shows '^Node N3 storage-state updated from data-loss to read-write$'
start 3
ready 3

step "Validate: the server is used for log storage again."
until_shows '(?s)\n0 [^\n]*\[N1, N2, N3\]\n1 [^\n]*\[N1, N2, N3\]' logs list
ctl replicated-loglet servers
shows '^N3 +N3:[0-9]+ +read-write '
write_state after
step "Done."
