#!/usr/bin/env bash
# Does what the book says, as a new user would: each path in an empty folder, with its commands as they stand there, and nothing
# but the programs. A path is a block marked `<!-- NAME, N minutes -->`; it must end within that time, and print the lines of the
# block marked `<!-- NAME prints -->`, if there is one, in which … stands for anything.
#
#   tools/follow.sh [PAGE [NAME]...]     all paths if none is named; builds the programs first if there are none
set -euo pipefail
cd "$(dirname "$0")/.."
pages=(docs/*.md)
if [ $# -gt 0 ]; then pages=("$1") && shift; fi
names=("$@")

programs=$(readlink -f "${CARGO_TARGET_DIR:-target}")/release
if [ ! -x "$programs/somnus-sim" ]; then
    eval "$(tools/block.sh docs/start.md build)"
fi
export PATH=$programs:$PATH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# promised PAGE NAME LOG: each line of the page, in its order, is among the lines that were printed.
promised() {
    local line pattern printed
    grep -q "^<!-- $2 prints -->$" "$1" || return 0
    exec {log}<"$3"
    while IFS= read -r line; do
        pattern=$(sed 's/[][*?\\]/\\&/g; s/…/*/g' <<<"$line")
        while true; do
            IFS= read -r printed <&"$log" || { echo "$1 promises what $2 did not print: $line" >&2; return 1; }
            # shellcheck disable=SC2053 # a pattern on purpose
            [[ $printed != $pattern ]] || break
        done
    done < <(tools/block.sh "$1" "$2 prints")
    exec {log}<&-
}

follow() {
    local page=$1 path=$2 minutes=$3 commands here started=$SECONDS
    commands=$(tools/block.sh "$page" "$path")
    here=$work/$(basename "$page" .md)-$path
    mkdir "$here"
    if ! (cd "$here" && timeout --kill-after=5 "${minutes}m" bash -euo pipefail -c "$commands") >"$here.log" 2>&1 </dev/null ||
        ! promised "$page" "$path" "$here.log"; then
        tail -n 40 "$here.log" >&2
        exit 1
    fi
    echo "$page, $path: $((SECONDS - started)) s of the $minutes minutes that it promises"
    followed=$((followed + 1))
}

followed=0

for page in "${pages[@]}"; do
    while read -r path minutes; do
        if [ ${#names[@]} = 0 ] || [[ " ${names[*]} " = *" $path "* ]]; then follow "$page" "$path" "$minutes"; fi
    done < <(sed -n 's/^<!-- \([a-z]*\), \([0-9]*\) minutes -->$/\1 \2/p' "$page")
done
[ "$followed" -gt 0 ] || { echo "no page has a path called ${names[*]:-anything}" >&2; exit 1; }
