#!/usr/bin/env bash
# Makes RESULTS.md from the public recordings: tools/results.sh DATA, where DATA holds sleep-accel/, slpdb/, ...
# (see models/README.md for where they come from). About three hours on two cores; runs that are there already are kept.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?usage: tools/results.sh DATA}
sim() { cargo run --release --quiet --bin somnus-sim -- "$@"; }
run() {
    local name=$1 folder=$2
    [ -s "runs/$name/summary.json" ] || sim run "configs/sim/$name.toml" ${folder:+--data "$data/$folder"} --out "runs/$name" >&2
}

run sleep-accel sleep-accel
run sleep-accel-few sleep-accel
run sleep-accel-three sleep-accel
run sleep-accel-sleep-wake sleep-accel
run personal sleep-accel
run invariance sleep-accel
run slpdb slpdb
run privacy-attacks sleep-accel
run privacy sleep-accel
run encoding sleep-accel
run poisoning sleep-accel
run stragglers ''
run sleep-accel-nano sleep-accel
run compression sleep-accel
run heart-rate stress-predict
run cross-modal stress-predict
run positives stress-predict
run activities wisdm-watch
run motifs ''

{
    cat configs/sim/results.md
    sim results runs/{sleep-accel,sleep-accel-few,sleep-accel-three,sleep-accel-sleep-wake,personal,invariance,slpdb,privacy-attacks,privacy,encoding,poisoning,stragglers,sleep-accel-nano,compression,heart-rate,cross-modal,positives,activities,motifs}
} >RESULTS.md
