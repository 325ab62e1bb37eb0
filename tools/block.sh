#!/usr/bin/env bash
# Prints a block of a page: the indented lines after its marker, as people will type them.
#
#   tools/block.sh README.md demo     what follows `<!-- demo -->` or `<!-- demo, 5 minutes -->`
set -euo pipefail

awk -v name="$2" '
    found && /^$/ { if (some) empty = empty "\n"; next }
    found && !/^    / { exit }
    found { printf "%s", empty; empty = ""; sub(/^    /, ""); print; some = 1 }
    $0 ~ "^<!-- " name "(, .*)? -->$" { found = 1 }
    END { exit !some }
' "$1" || { echo "$1 has no block marked $2" >&2; exit 1; }
