#!/usr/bin/env bash
# Measures daykeep beside the rivals that are installed: first backup, unchanged, restore; wall time and peak memory.
#
#   bench/compare.sh WORK MEDIA SMALL VIDEO [RUNS]
#
# WORK is an empty folder, best on tmpfs; MEDIA and SMALL are folders and VIDEO is a file, best there too. The programs
# are found by PATH, or named by DAYKEEP, RESTIC, RUSTIC, BORG, CONSERVE; `none` leaves one out. Every round runs all
# programs in turn; medians, spread and peak memory are printed as a Markdown table, each single run goes to
# WORK/runs.tsv.
set -euo pipefail
work=$1 media=$2 small=$3 video=$4 runs=${5:-5}
daykeep=${DAYKEEP:-daykeep} restic=${RESTIC:-restic} rustic=${RUSTIC:-rustic} borg=${BORG:-borg} conserve=${CONSERVE:-conserve}
mkdir -p "$work" && cd "$work"
export RESTIC_PASSWORD=x RUSTIC_PASSWORD=x BORG_PASSPHRASE=x
export RESTIC_CACHE_DIR=$work/cache-restic RUSTIC_CACHE_DIR=$work/cache-rustic BORG_BASE_DIR=$work/cache-borg
export DAYKEEP_CACHE_DIR=$work/cache-daykeep BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes
: >runs.tsv

has() { [ "$1" != none ] && command -v "$1" >/dev/null; }
tools="cp"
for tool in daykeep-dir daykeep-redb; do has "$daykeep" && tools+=" $tool"; done
for tool in restic rustic borg conserve; do has "${!tool}" && tools+=" $tool" || echo "not installed: $tool" >&2; done

# Runs a command and notes: work, tool, seconds, peak KiB.
timed() {
    local what=$1 tool=$2
    shift 2
    sync
    # The clock of /usr/bin/time is too coarse for what takes a tenth of a second.
    local begun ended status=0
    begun=$EPOCHREALTIME
    /usr/bin/time -o time.txt -f '%M' "$@" >out.txt 2>err.txt </dev/null || status=$?
    ended=$EPOCHREALTIME
    if [ "$status" != 0 ]; then
        echo "$what $tool failed with $status: $(tail -n 3 err.txt)" >&2
        return 0
    fi
    awk -v a="$begun" -v b="$ended" -v k="$(tail -n 1 time.txt)" -v w="$what" -v t="$tool" \
        'BEGIN { printf "%s\t%s\t%.3f\t%d\n", w, t, b - a, k }' >>runs.tsv
}

init() {
    case $1 in
    daykeep-dir) "$daykeep" -q -r "$work/repo-$1/" --key-file "$work/key-$1" init ;;
    daykeep-redb) "$daykeep" -q -r "$work/repo-$1" --key-file "$work/key-$1" init ;;
    restic) "$restic" -q init -r "$work/repo-$1" ;;
    rustic) "$rustic" init -r "$work/repo-$1" ;;
    borg) "$borg" init -e repokey-blake2 "$work/repo-$1" ;;
    conserve) "$conserve" init "$work/repo-$1" ;;
    cp) ;;
    esac >out.txt 2>err.txt || echo "init $1 failed: $(tail -n 3 err.txt)" >&2
}

backup() {
    local what=$1 tool=$2 source=$3
    case $tool in
    cp) timed "$what" cp cp -r "$source" "$work/repo-cp" ;;
    daykeep-dir) timed "$what" "$tool" "$daykeep" -q -r "$work/repo-$tool/" --key-file "$work/key-$tool" backup "$source" ;;
    daykeep-redb) timed "$what" "$tool" "$daykeep" -q -r "$work/repo-$tool" --key-file "$work/key-$tool" backup "$source" ;;
    restic) timed "$what" "$tool" "$restic" -q -r "$work/repo-restic" backup "$source" ;;
    rustic) timed "$what" "$tool" "$rustic" --no-progress -r "$work/repo-rustic" backup "$source" ;;
    borg) timed "$what" "$tool" "$borg" create "$work/repo-borg::$RANDOM$RANDOM" "$source" ;;
    conserve)
        # It backs up folders only.
        local folder=$source
        [ -d "$source" ] || folder=$(dirname "$source")
        timed "$what" "$tool" "$conserve" backup --no-progress "$work/repo-conserve" "$folder"
        ;;
    esac
}

restore() {
    local what=$1 tool=$2 source=$3
    rm -rf "$work/restored"
    case $tool in
    cp) timed "$what" cp cp -r "$source" "$work/restored" ;;
    daykeep-dir) timed "$what" "$tool" "$daykeep" -q -r "$work/repo-$tool/" --key-file "$work/key-$tool" restore latest --target "$work/restored" ;;
    daykeep-redb) timed "$what" "$tool" "$daykeep" -q -r "$work/repo-$tool" --key-file "$work/key-$tool" restore latest --target "$work/restored" ;;
    restic) timed "$what" "$tool" "$restic" -q -r "$work/repo-restic" restore latest --target "$work/restored" ;;
    rustic) timed "$what" "$tool" "$rustic" --no-progress -r "$work/repo-rustic" restore latest "$work/restored" ;;
    borg)
        mkdir "$work/restored"
        timed "$what" "$tool" sh -c "cd '$work/restored' && exec '$borg' extract '$work/repo-borg::$("$borg" list --short --last 1 "$work/repo-borg")'"
        ;;
    conserve) timed "$what" "$tool" "$conserve" restore --no-progress "$work/repo-conserve" "$work/restored" ;;
    esac
    if [ "$tool" != cp ] && [ -d "$work/restored" ]; then
        local found wanted
        found=$(find "$work/restored" -type f | wc -l)
        wanted=$(find "$source" -type f | wc -l)
        [ "$found" = "$wanted" ] || echo "$what $tool: $found files instead of $wanted" >&2
    fi
    rm -rf "$work/restored"
}

clear_repositories() { rm -rf "$work"/repo-* "$work"/key-* "$work"/cache-*; }

for ((round = 1; round <= runs; round++)); do
    for set in media small; do
        source=${!set}
        # Whatever was changed within two seconds of a backup is read again by the next.
        for tool in $tools; do
            clear_repositories
            init "$tool"
            backup "first backup, $set" "$tool" "$source"
            if [ "$tool" != cp ]; then backup "unchanged, $set" "$tool" "$source"; fi
            restore "restore, $set" "$tool" "$source"
        done
    done
    for tool in $tools; do
        clear_repositories
        init "$tool"
        backup "first backup, video" "$tool" "$video"
    done
    clear_repositories
    echo "round $round of $runs done" >&2
done

awk -F'\t' '
{ key = $1 SUBSEP $2; n[key]++; t[key, n[key]] = $3; if ($4 > peak[key]) peak[key] = $4
  if (!($1 in seen)) { seen[$1] = 1; order[++works] = $1 } if (!($2 in known)) { known[$2] = 1; names[++tools] = $2 } }
END {
  printf "| work |"; for (j = 1; j <= tools; j++) printf " %s |", names[j]; printf "\n|---|"; for (j = 1; j <= tools; j++) printf "---|"; print ""
  for (i = 1; i <= works; i++) {
    printf "| %s |", order[i]
    for (j = 1; j <= tools; j++) {
      key = order[i] SUBSEP names[j]; c = n[key]
      if (!c) { printf " – |"; continue }
      for (a = 1; a <= c; a++) v[a] = t[key, a]
      for (a = 1; a <= c; a++) for (b = a + 1; b <= c; b++) if (v[b] + 0 < v[a] + 0) { x = v[a]; v[a] = v[b]; v[b] = x }
      m = (c % 2) ? v[(c + 1) / 2] : (v[c / 2] + v[c / 2 + 1]) / 2
      printf " %.2f s (%.2f–%.2f), %d MB |", m, v[1], v[c], peak[key] / 1000
    }
    print ""
  }
}' runs.tsv
