#!/usr/bin/env bash
# Does what docs/start.md says, as a new user would: each path in an empty folder, with its commands as they stand there, and
# nothing but the programs. A path is a block marked `<!-- NAME, N minutes -->`; it must end well within that time, and print
# the lines of the block marked `<!-- NAME prints -->`, in which … stands for anything.
#
#   tools/follow.sh [NAME]...     all paths if none is named; builds the programs first if there are none
set -euo pipefail
cd "$(dirname "$0")/.."
page=docs/start.md
[ $# -gt 0 ] || set -- $(sed -n 's/^<!-- \([a-z]*\), [0-9]* minutes -->$/\1/p' "$page")

programs=$(readlink -f "${CARGO_TARGET_DIR:-target}")/release
if [ ! -x "$programs/somnus-sim" ]; then
    eval "$(tools/block.sh "$page" build)"
fi
export SOMNUS=$PWD PATH=$programs:$PATH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Each line of the page, in its order, is among the lines that were printed.
promised() {
    local line pattern printed
    exec {log}<"$2"
    while IFS= read -r line; do
        pattern=$(sed 's/[][*?\\]/\\&/g; s/…/*/g' <<<"$line")
        while true; do
            IFS= read -r printed <&"$log" || { echo "$page promises what $1 did not print: $line" >&2; return 1; }
            # shellcheck disable=SC2053 # a pattern on purpose
            [[ $printed != $pattern ]] || break
        done
    done < <(tools/block.sh "$page" "$1 prints")
    exec {log}<&-
}

for path; do
    minutes=$(sed -n "s/^<!-- $path, \([0-9]*\) minutes -->$/\1/p" "$page")
    commands=$(tools/block.sh "$page" "$path")
    mkdir "$work/$path"
    started=$SECONDS
    if ! (cd "$work/$path" && timeout --kill-after=5 "${minutes}m" bash -euo pipefail -c "$commands") >"$work/$path.log" 2>&1 </dev/null ||
        ! promised "$path" "$work/$path.log"; then
        tail -n 40 "$work/$path.log" >&2
        exit 1
    fi
    echo "$page, $path: $((SECONDS - started)) s of the $minutes minutes that it promises"
done
