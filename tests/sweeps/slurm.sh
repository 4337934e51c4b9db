#!/bin/bash
# A Slurm of one node in a folder of its own, for tests/sweeps.rs: Debian's slurm-wlm and munge, as root.
#
#   slurm.sh start FOLDER CPUS   starts munged, slurmctld and slurmd, and waits until the node is idle
#   slurm.sh node FOLDER         starts slurmd again
#   slurm.sh kill-node FOLDER    kills slurmd and all that runs on the node, as when a machine goes down
#   slurm.sh stop FOLDER         ends all of it
#
# Whoever uses it sets SLURM_CONF=FOLDER/slurm.conf.
set -euo pipefail
folder=$2
export SLURM_CONF=$folder/slurm.conf
PATH=$PATH:/usr/sbin:/sbin

# The processes of this name that belong to this Slurm: others of the machine are not touched.
pids() {
    for place in /proc/[0-9]*; do
        pid=${place#/proc/}
        (tr '\0' ' ' <"$place/cmdline") 2>/dev/null | grep -qE "^(/[^ ]*/)?$1" || continue
        if grep -qs "$folder" "$place/cmdline" "$place/environ" || ls -l "$place/fd" 2>/dev/null | grep -q "$folder"; then
            echo "$pid"
        fi
    done
}

# The processes below one, the one itself last.
below() {
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do below "$child"; done
    echo "$1"
}

node() {
    slurmd -f "$SLURM_CONF" -N node
}

case $1 in
start)
    mkdir -p "$folder"/{state,spool,munge}
    chmod 755 "$folder"
    chmod 700 "$folder/munge"
    head -c 1024 /dev/urandom >"$folder/munge/key"
    chmod 600 "$folder/munge/key"
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge.socket" --pid-file="$folder/munge/pid" \
        --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
    mapfile -t ports < <(shuf -i 20000-60000 -n 2)
    cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
ReturnToService=2
SlurmdTimeout=6
OverTimeLimit=0
KillWait=2
MaxArraySize=4
NodeName=node NodeHostname=$(hostname) NodeAddr=127.0.0.1 CPUs=$3 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
    slurmctld -f "$SLURM_CONF"
    node
    for _ in $(seq 300); do
        if sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then exit 0; fi
        sleep 0.1
    done
    sinfo >&2 || true
    tail -5 "$folder"/*.log >&2
    exit 1
    ;;
node) node ;;
kill-node)
    for pid in $(pids "slurmd ") $(pids "slurmstepd: "); do
        for one in $(below "$pid"); do kill -9 "$one" 2>/dev/null || true; done
    done
    ;;
stop)
    scancel --user="$(id -un)" 2>/dev/null || true
    for pid in $(pids "(slurmd|slurmctld|munged) ") $(pids "slurmstepd: "); do
        for one in $(below "$pid"); do kill -9 "$one" 2>/dev/null || true; done
    done
    ;;
esac
