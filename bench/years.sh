#!/bin/bash
# A million small files in a hundred snapshots, each of which changes one file in a hundred; then half of the snapshots are
# forgotten and their space is given back. Prints a line for each step: seconds, processor seconds, peak memory in MB.
#
#   bench/years.sh DAYKEEP DATASETS FOLDER [FILES] [SNAPSHOTS] [RESTIC_SNAPSHOTS]
#
# FOLDER is filled with all data; a file system in memory is best. With RESTIC_SNAPSHOTS above 0 restic does the same on the
# first so many.
set -euo pipefail
daykeep=$1 datasets=$2 folder=$3 files=${4:-1000000} snapshots=${5:-100} restic_snapshots=${6:-0}
export RESTIC_PASSWORD=x RESTIC_CACHE_DIR=$folder/restic-cache
cd "$folder"
own=("$daykeep" -q -r daykeep/ --key-file key --cache-dir cache)
step() {
  local name=$1
  shift
  if ! /usr/bin/time -o times -f '%e s, %U + %S s, %M kB' "$@" > output 2>&1; then
    tail -3 output >&2
    echo "$name failed" >&2
    exit 1
  fi
  echo "$name: $(cat times)"
}

"$datasets" files source --count "$files" --shortest 1000 --longest 4000
"${own[@]}" init > /dev/null
[ "$restic_snapshots" = 0 ] || restic -q -r restic init > /dev/null
for ((day = 0; day < snapshots; day++)); do
  if ((day > 0)); then
    # Each folder has a thousand files, f0000.txt to f0999.txt.
    for file in source/*/f0?"$(printf %02d $((day % 100)))".txt; do echo "day $day" >> "$file"; done
  fi
  [ $((day % 25)) -gt 1 ] || step "daykeep, backup $day" "${own[@]}" backup source
  [ $((day % 25)) -le 1 ] || "${own[@]}" backup source > /dev/null
  if ((day < restic_snapshots)); then
    [ "$day" -gt 1 ] || step "restic, backup $day" restic -q -r restic backup source
    [ "$day" -le 1 ] || restic -q -r restic backup source
  fi
done
[ "$restic_snapshots" = 0 ] || {
  step "restic, check of $restic_snapshots" restic -r restic check
  step "restic, forget and prune to $((restic_snapshots / 2))" restic -r restic forget --keep-last $((restic_snapshots / 2)) --prune
}
step "daykeep, check of $snapshots" "${own[@]}" check
step "daykeep, forget to $((snapshots / 2))" "${own[@]}" forget --keep-last $((snapshots / 2))
step "daykeep, prune" "${own[@]}" prune
step "daykeep, check after" "${own[@]}" check
