#!/usr/bin/env bash
# From the release tarball to a first report: the commands of docs/deploy.md as they stand there, on a server and on three hubs behind
# one router, each with its own /usr/local and /var/lib; server and hubs are two network namespaces.
#
#   tools/first-report.sh [FOLDER]     where the tarball is; dist if not given
#
# What is not as in life: nights are synthetic, everybody is root already, and instead of systemd a few lines start what
# the unit's ExecStart says. Needs root; skips by name where the kernel has no namespaces for us.
set -euo pipefail
cd "$(dirname "$0")/.."
dist=$(readlink -f "${1:-dist}")

work=$(mktemp -d)
server=somnus-server-$$ hub=somnus-hub-$$
machines=()
clean() {
    [ ${#machines[@]} = 0 ] || kill -9 "${machines[@]}" 2>/dev/null || true
    ip netns del "$server" 2>/dev/null || true
    ip netns del "$hub" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT

if ! { ip netns add "$server" && ip netns add "$hub" && ip netns exec "$hub" unshare --mount --pid --fork --mount-proc true; } 2>"$work/why"; then
    echo "SKIPPED first-report: no namespaces here: $(tail -1 "$work/why")"
    exit 0
fi
ip link add to-hub netns "$server" type veth peer name to-server netns "$hub"
address() { ip -n "$1" address add "$3" dev "$2" && ip -n "$1" link set "$2" up && ip -n "$1" link set lo up; }
address "$server" to-hub 10.77.0.1/24
address "$hub" to-server 10.77.0.2/24

block() { tools/block.sh docs/deploy.md "$1"; }

# What stands in for a manager and its journal.
mkdir -p "$work/bin"
cat >"$work/bin/systemctl" <<'STUB'
#!/bin/bash
# Starts what the unit says.
line=$(sed -n 's/^ExecStart=//p' "/usr/local/lib/systemd/system/${!#}.service")
setsid $line >>"/var/lib/${!#}.log" 2>&1 </dev/null &
STUB
printf '#!/bin/bash\nexec cat "/var/lib/${!#}.log"\n' >"$work/bin/journalctl"
printf '#!/bin/bash\nexec "$@"\n' >"$work/bin/sudo"
chmod +x "$work"/bin/*
echo "10.77.0.1 somnus.example.org" >"$work/hosts"

# machine NAME NAMESPACE: a machine with a /usr/local, a /var/lib and processes of its own; its home is $work/NAME.
machine() {
    local home=$work/$1
    mkdir -p "$home"/{local,lib}
    cp "$dist"/somnus-*-"$(dpkg --print-architecture)".tar.gz "$home"
    mkfifo "$home/up"
    exec {up}<>"$home/up"
    ip netns exec "$2" unshare --mount --pid --fork --kill-child --mount-proc bash -c '
        mount --bind "$1/local" /usr/local && mount --bind "$1/lib" /var/lib && mount --bind "$2" /etc/hosts
        echo up >"$1/up"; exec sleep infinity' - "$home" "$work/hosts" &
    machines+=($!)
    disown $!
    read -r -t 60 -u "$up" _
    pgrep -P $! >"$home/pid"
}

# on NAME: runs its standard input on that machine, as a person would type it there.
on() {
    local home=$work/$1
    timeout 600 nsenter -t "$(cat "$home/pid")" --mount --pid --net env PATH="$work/bin:/usr/local/bin:$PATH" bash -euo pipefail -c 'cd "$1"; eval "$(cat)"' - "$home"
}

somnus_sim=${CARGO_TARGET_DIR:-target}/release/somnus-sim
"$somnus_sim" synth --split --people 3 --out "$work/people"
started=$SECONDS
machine server "$server"
block server | on server
people=$(ls "$work/people")
for person in $people; do
    invite=$(block invite) enrol=$(block hub)
    token=$(on server <<<"${invite/ ann / $person }")
    machine "$person" "$hub"
    cp -r "$work/people/$person" "$work/$person/nights"
    on "$person" <<<"${enrol/TOKEN/$token}"
done
for person in $people; do
    if ! block report | on "$person"; then
        tail -n 20 "$work"/*/lib/*.log >&2
        exit 1
    fi
    test -s "$work/$person/report/$person.html"
done
block operator | on server
echo "from the tarball to $(wc -w <<<"$people") first reports in $((SECONDS - started)) s"
