#!/usr/bin/env bash
# Builds stripped programs for another machine, and prints the folder that they are in.
#
#   tools/cross.sh [--as-it-is] TARGET [-p PACKAGE]...     packages: somnus-client and somnus-server if none is named
#
#   aarch64-unknown-linux-gnu        64 bits: Raspberry Pi 3, 4, 5
#   armv7-unknown-linux-gnueabihf    32 bits: Raspberry Pi 2 and later
#   x86_64-unknown-linux-gnu         small servers, and this machine
#
# The cross compiler and the emulator for tests are Debian's; they are installed if they are missing and we are root. The standard
# library is rustup's, or is built from its source: rustup's rust-src, or an archive of `library/` of exactly this rustc's
# version ($RUST_SRC, else ../shared/tools/rust-src-VERSION-library.tar.xz), or Debian's rust-src of that version.
# With --as-it-is nothing is installed or fetched. Ends with 3, and says why, if the tools cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

lacking() { echo "cross: $1" >&2; exit 3; }

as_it_is=false
if [ "${1:-}" = --as-it-is ]; then as_it_is=true; shift; fi
target=${1:?usage: tools/cross.sh [--as-it-is] TARGET [-p PACKAGE]...}
shift
packages=("$@")
[ $# -gt 0 ] || packages=(-p somnus-client -p somnus-server)
case $target in
    aarch64-unknown-linux-gnu) gnu=aarch64-linux-gnu tools=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static) ;;
    armv7-unknown-linux-gnueabihf) gnu=arm-linux-gnueabihf tools=(gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user-static) ;;
    x86_64-unknown-linux-gnu) gnu= tools=() ;;
    *) echo "cross: unknown target $target" >&2; exit 2 ;;
esac

# A compiler that links for the target.
if [ -n "$gnu" ] && ! command -v "$gnu-gcc" >/dev/null; then
    $as_it_is && lacking "$gnu-gcc is not installed; tools/cross.sh $target installs it"
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || lacking "$gnu-gcc is not installed; as root on Debian this script does that"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${tools[@]}"; } >&2 </dev/null ||
        lacking "apt-get cannot install ${tools[*]}"
fi

# The standard library's source where this rustc looks for it, or in a sysroot of our own that is this rustc's but for that.
from_source() {
    local root home version archive
    root=$(rustc --print sysroot)
    version=$(rustc --version | cut -d' ' -f2)
    if [ -d "$root/lib/rustlib/src/rust/library" ]; then return; fi
    home=${XDG_CACHE_HOME:-$HOME/.cache}/somnus-cross/$version
    if [ ! -e "$home/ready" ]; then
        $as_it_is && lacking "there is no standard library for $target; tools/cross.sh $target makes it"
        rm -rf "$home" && mkdir -p "$home/lib/rustlib/src/rust"
        archive=${RUST_SRC:-../shared/tools/rust-src-$version-library.tar.xz}
        if [ -e "$archive" ]; then
            mkdir "$home/lib/rustlib/src/rust/library"
            tar -C "$home/lib/rustlib/src/rust/library" -xJf "$archive"
        else
            (cd "$home" && apt-get download -qq "rust-src=$version*" >&2 && dpkg -x rust-src_*.deb deb) ||
                lacking "no source of the standard library of rustc $version: not from rustup, not at $archive, not from Debian"
            mv "$home/deb/usr/src/rustc-$version/library" "$home/lib/rustlib/src/rust/"
        fi
        for entry in "$root"/lib/rustlib/*; do [ "${entry##*/}" = src ] || ln -s "$entry" "$home/lib/rustlib/"; done
        printf '#!/bin/sh\nexec "%s/bin/rustc" --sysroot "%s" "$@"\n' "$root" "$home" >"$home/rustc"
        chmod +x "$home/rustc"
        touch "$home/ready"
    fi
    export RUSTC=$home/rustc
}

std=()
installed() { [ -d "$(rustc --print target-libdir --target "$target")" ]; }
if ! installed && ! $as_it_is && [ -z "${RUST_SRC:-}" ] && command -v rustup >/dev/null; then
    timeout 300 rustup target add "$target" >&2 </dev/null || echo "cross: rustup has no $target here" >&2
fi
if [ -n "${RUST_SRC:-}" ] || ! installed; then
    from_source
    # Only nightly builds the standard library by itself; this makes a stable compiler one, for this build alone.
    export RUSTC_BOOTSTRAP=1
    std=(-Zbuild-std=std,panic_abort)
fi

if [ -n "$gnu" ]; then
    name=${target//-/_}
    export "CARGO_TARGET_${name^^}_LINKER=$gnu-gcc" "CC_$name=$gnu-gcc" "AR_$name=$gnu-ar"
fi
# Nobody needs to know where it was built, and the same source makes the same programs elsewhere.
home=${CARGO_HOME:-$HOME/.cargo}
remap="target.'cfg(all())'.rustflags=['--remap-path-prefix=$PWD=.','--remap-path-prefix=$home=cargo']"
CARGO_PROFILE_RELEASE_STRIP=symbols cargo --config "$remap" build --release --locked "${std[@]}" --target "$target" "${packages[@]}" >&2
echo "${CARGO_TARGET_DIR:-target}/$target/release"
