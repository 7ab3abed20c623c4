#!/bin/bash
# A month of a chat database that grows daily, each day backed up at the same path by daykeep and restic; then the last day is
# restored three times by both and compared. Prints for each day the bytes that daykeep stored and both times in milliseconds.
#
#   bench/month.sh DAYKEEP DATASETS FOLDER STORE [MESSAGES] [MESSAGES_PER_DAY] [DAYS]
#
# STORE is `repository/` for a directory or `repository` for a file. The states of all days lie in FOLDER/states, and are made
# if they are not there (13 GB for the defaults); the rest lies in FOLDER/work, best on a file system in memory, by a link.
set -euo pipefail
daykeep=$1 datasets=$2 folder=$3 store=$4 messages=${5:-600000} per_day=${6:-3000} days=${7:-30}
export RESTIC_PASSWORD=x
cd "$folder"
states=$PWD/states
[ -d states ] || "$datasets" chats states --messages "$messages" --days "$days" --messages-per-day "$per_day" > /dev/null
mkdir -p work
cd -P work
rm -rf ./*
mkdir source
own=("$daykeep" -r "$store" --key-file key --cache-dir cache)
"${own[@]}" -q init > /dev/null
restic -q -r restic --cache-dir restic-cache init > /dev/null
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
first=0 last=0
for day in $(seq -w 00 "$days"); do
  cp "$states"/day-"$day"/msgstore.db source/
  # Read once, and written longer ago than a tick of the clock: else it would be taken for one in use.
  cat source/msgstore.db > /dev/null
  sleep 0.3
  begun=$(milliseconds)
  stored=$("${own[@]}" --json backup source | grep -o '"bytes_stored":[0-9]*' | tail -n 1 | cut -d : -f 2)
  between=$(milliseconds)
  restic -q -r restic --cache-dir restic-cache backup source
  echo "day $day: $stored bytes, daykeep $((between - begun)) ms, restic $(($(milliseconds) - between)) ms"
  [ "$((10#$day))" = 0 ] || last=$((last + stored))
  [ "$((10#$day))" != 14 ] || first=$last
done
echo "14 days: $first bytes, $days days: $last bytes"
for _ in 1 2 3; do
  rm -rf restored restic-restored
  begun=$(milliseconds)
  "${own[@]}" -q restore latest:"$PWD"/source -t restored > /dev/null
  between=$(milliseconds)
  restic -q -r restic --cache-dir restic-cache restore latest --target restic-restored
  echo "restore: daykeep $((between - begun)) ms, restic $(($(milliseconds) - between)) ms"
  cmp source/msgstore.db restored/msgstore.db
done
