# How both recoveries begin: node-2, a worker, lost its state, and the logs were trimmed. Sourced.

BOTH_JOINED='(?s)(?=.*\n0 +N1:\d+ [^\n]*Active)(?=.*\n0 +N2:\d+ [^\n]*Active)(?=.*\n1 +N1:\d+ [^\n]*Active)(?=.*\n1 +N2:\d+ [^\n]*Active)'

trim_gap() {
    step "Two workers; the second loses its state, and the logs are trimmed meanwhile."
    node 1; start 1; ready 1
    node 2 '"worker"'; start 2; ready 2
    ctl --yes config set --partition-replication 2
    until_shows "$BOTH_JOINED" partitions list
    for partition_id in 0 1; do ctl partitions leadership pin "$partition_id" --node N1; done
    until_shows '(?s)\n0 +N1:\d+ +Leader.*\n1 +N1:\d+ +Leader' partitions list
    write_state before
    stop 2
    rm -r "$SCRATCH/data-2/node-2/db"
    write_state gap
    ctl logs find-tail 0-1
    local log tail
    while read -r log _ _ tail; do
        case $log in [0-9]*) TRIM="${TRIM:-} $log:$tail" ;; esac
    done <<< "$OUTPUT"
    for log in $TRIM; do ctl logs trim "${log%%:*}" --trim-point "$((${log##*:} - 1))"; done

    step "Its processors meet the gap, say so, and wait."
    start 2
    says 2 "A log trim gap was encountered, but no snapshot repository is configured!"
}
