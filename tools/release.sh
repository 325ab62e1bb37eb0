#!/usr/bin/env bash
# Makes a release in dist/: for each machine a tarball and two Debian packages, and the checksums of all.
#
#   tools/release.sh [--as-built] [amd64|arm64|armhf]...     all three if none is named
#
# The same source and tools give the same bytes. With --as-built the programs are those of `cargo build --release`, for this
# machine: good for trying the recipe, but they know where they were built.
set -euo pipefail
cd "$(dirname "$0")/.."

as_built=false
if [ "${1:-}" = --as-built ]; then as_built=true; shift; fi
[ $# -gt 0 ] || set -- amd64 arm64 armhf
if $as_built && [ "$*" != "$(dpkg --print-architecture)" ]; then
    echo "release: --as-built is for $(dpkg --print-architecture) alone" >&2
    exit 2
fi

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
built=${CARGO_TARGET_DIR:-target}/release
mkdir -p dist
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What is the same for all machines.
cargo build --release --locked --quiet --workspace --bins --examples
"$built/examples/pages" "$work/pages"
gzip -9n "$work"/pages/man/man1/*.1

# The files of one program under a prefix: put PROGRAM FROM PREFIX
put() {
    local program=$1 from=$2 to=$3 page
    install -Dm755 -t "$to/bin" "$from/$program"
    install -Dm644 -t "$to/lib/systemd/system" "packaging/systemd/$program.service"
    for page in "$work"/pages/man/man1/"$program"{.1.gz,-*.1.gz}; do install -Dm644 -t "$to/share/man/man1" "$page"; done
    (cd "$work/pages" && find bash-completion zsh fish -name "*$program*") | while read -r page; do
        install -Dm644 "$work/pages/$page" "$to/share/$page"
    done
    if [ "$program" = somnus-server ]; then install -Dm644 -t "$to/share/somnus" models/somnus-{base,nano}.safetensors; fi
}

# What people read: papers PREFIX NAME PROGRAM...
papers() {
    local doc=$1/share/doc/$2
    install -Dm644 -t "$doc" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE
    install -Dm644 -t "$doc/docs" docs/*.md
    shift 2
    for program; do install -Dm644 -t "$doc/configs/${program#somnus-}" "configs/${program#somnus-}"/*; done
}

settle() { find "$1" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +; }

# package PROGRAM ARCH FROM
package() {
    local program=$1 arch=$2 root=$work/$1-$2
    put "$program" "$3" "$root/usr"
    papers "$root/usr" "$program" "$program"
    cat LICENSE-MIT LICENSE-APACHE >"$root/usr/share/doc/$program/copyright"
    rm "$root/usr/share/doc/$program"/LICENSE-*
    mkdir -p "$root/DEBIAN"
    cat >"$root/DEBIAN/control" <<CONTROL
Package: $program
Version: $version
Architecture: $arch
Maintainer: The Somnus developers <somnus@localhost>
Section: science
Priority: optional
Depends: libc6 (>= 2.36), libgcc-s1
Installed-Size: $(du -sk --apparent-size "$root/usr" | cut -f1)
Description: $(sed -n 's/^description = "\(.*\)\."/\1/p' "${program#somnus-}/Cargo.toml")
 Federated learning of sleep staging on wearables: nights stay with their
 people, masked updates make a model.
CONTROL
    sed "s/@PROGRAM@/$program/" packaging/debian/postinst >"$root/DEBIAN/postinst"
    sed "s/@PROGRAM@/$program/" packaging/debian/prerm >"$root/DEBIAN/prerm"
    chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm"
    settle "$root"
    dpkg-deb --root-owner-group -Zxz --build "$root" "dist/${program}_${version}_$arch.deb" >/dev/null
}

# systemd's own opinion of the units; the programs that they name are not installed here.
if command -v systemd-analyze >/dev/null; then
    opinion=$(systemd-analyze verify --man=no packaging/systemd/*.service 2>&1 | grep 'somnus-.*\.service' | grep -v 'Command somnus-[a-z]* is not executable' || true)
    [ -z "$opinion" ] || { echo "$opinion" >&2; exit 1; }
fi

for arch; do
    case $arch in
        amd64) target=x86_64-unknown-linux-gnu ;;
        arm64) target=aarch64-unknown-linux-gnu ;;
        armhf) target=armv7-unknown-linux-gnueabihf ;;
        *) echo "release: unknown architecture $arch" >&2; exit 2 ;;
    esac
    if $as_built; then
        from=$work/built
        mkdir "$from"
        for program in somnus-client somnus-server; do strip -o "$from/$program" "$built/$program"; done
    else
        from=$(tools/cross.sh $target)
    fi

    name=somnus-$version-$arch
    for program in somnus-client somnus-server; do
        put $program "$from" "$work/$name"
        package $program "$arch" "$from"
    done
    papers "$work/$name" somnus somnus-client somnus-server
    settle "$work/$name"
    tar -C "$work" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner -cf - "$name" | gzip -9n >"dist/$name.tar.gz"
done

cd dist
sha256sum somnus*"$version"[-_]* >SHA256SUMS
ls -l somnus*"$version"[-_]* | awk '{ printf "%9d  %s\n", $5, $NF }'
