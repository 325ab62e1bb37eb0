#!/usr/bin/env bash
# Makes the book of docs/ in target/book with mdbook (0.5). Links to files beside the book become plain words: there is nothing
# that they could lead to.
set -euo pipefail
cd "$(dirname "$0")/.."

to=$PWD/target/book
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r docs/. "$work"
sed -zEi 's/\[([^]]*)\]\(\.\.\/[^)]*\)/\1/g' "$work"/*.md
mdbook build --dest-dir "$to" "$work"
! grep -ohE '(href|src)="(\.\./[^"]*|[^":]*\.md(#[^"]*)?)"' "$to"/*.html || { echo "the book links to what is above" >&2; exit 1; }
