#!/usr/bin/env bash
# Installs or upgrades Mailstead: fetches the release for this machine, verifies it, and hands over to
# `mailstead setup`. Until everything is verified nothing on the machine is changed.
#
#   curl -fsSL https://mailstead.org/install.sh | sudo bash
#
# Everything stands in functions and only the last line calls main, so a download cut short does nothing.

set -euo pipefail

# The public half of the key that signs releases (Ed25519). MAILSTEAD_PUBKEY replaces it for mirrors of one's own.
RELEASE_PUBLIC_KEY='-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA5gLFP2f6OU2nXXW9OCl0bkAtW+pnQ/udTQyHq8fjJF0=
-----END PUBLIC KEY-----'

DEFAULT_RELEASES='https://mailstead.org/releases'
HOME_DIR='/opt/mailstead'

# Bounds. A release is some tens of megabytes; a manifest has a line per architecture.
MAX_SMALL_BYTES=65536
MAX_ARTIFACT_BYTES=268435456
CONNECT_SECONDS=20
TRANSFER_SECONDS=900
TRIES=3

RUST_WANTED='1.95'

SCRATCH=''   # downloads; removed at the end whatever happens
UNPACKED=''  # the release's folder before it has its name; removed unless it got it
MADE_DIRS=() # folders made for it; removed again if they stayed empty

help() {
    cat <<'TEXT'
NAME
    install.sh - install or upgrade Mailstead on this machine

SYNOPSIS
    curl -fsSL https://mailstead.org/install.sh | sudo bash
    sudo ./install.sh [--no-setup] [SETUP OPTION...]
    ./install.sh --demo [DIR]

DESCRIPTION
    Finds the release for this machine, checks its Ed25519 signature, its size and its SHA-256, puts it into
    /opt/mailstead/releases/VERSION/ and runs `mailstead setup` on the terminal. The same command again is the
    upgrade. If anything is wrong nothing is changed, one line says what, and the exit code is not 0.

    Run from a checkout of the source (and without MAILSTEAD_RELEASES) it builds the program instead.

OPTIONS
    --no-setup     install the release only, and print where it is
    --demo [DIR]   from a checkout: build, then run a whole demo box in DIR as an ordinary user, in the foreground
    --help         this text
    All else is handed to `mailstead setup`, for example --email, --hostname, --dns, --yes.

ENVIRONMENT
    MAILSTEAD_RELEASES   where releases are: a URL or a folder (default https://mailstead.org/releases)
    MAILSTEAD_VERSION    the version wanted (default: what the file `latest` there says); an older one than the
                         installed one is only taken when it is named here
    MAILSTEAD_PUBKEY     the public key that signed the release, as PEM text or as a file
    MAILSTEAD_PROFILE    `dev` builds a checkout quickly instead of well

SYSTEMS
    Ubuntu 24.04 and 26.04, Debian 12 and 13, on x86_64 and aarch64.
TEXT
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'mailstead: %s\n' "$*" >&2
    exit 1
}

clean_up() {
    [ -z "$SCRATCH" ] || rm -rf -- "$SCRATCH"
    [ -z "$UNPACKED" ] || rm -rf -- "$UNPACKED"
    local index
    for ((index = ${#MADE_DIRS[@]} - 1; index >= 0; index--)); do
        rmdir -- "${MADE_DIRS[index]}" 2>/dev/null || true
    done
}

# --- what this machine is

require_root() {
    [ "$(id -u)" = 0 ] || fail 'this needs root: run it again with sudo'
}

require_system() {
    [ "$(uname -s)" = Linux ] || fail "this is $(uname -s); Mailstead runs on Ubuntu 24.04 or 26.04 and Debian 12 or 13"
    local name
    name=$(unset ID VERSION_ID && . /etc/os-release 2>/dev/null && printf '%s %s' "${ID:-unknown}" "${VERSION_ID:-}") ||
        fail 'there is no /etc/os-release; Mailstead runs on Ubuntu 24.04 or 26.04 and Debian 12 or 13'
    case $name in
        'ubuntu 24.04' | 'ubuntu 26.04' | 'debian 12' | 'debian 13') ;;
        *) fail "this system is $name; Mailstead runs on Ubuntu 24.04 or 26.04 and Debian 12 or 13" ;;
    esac
}

architecture() {
    case $(uname -m) in
        x86_64 | amd64) echo x86_64 ;;
        aarch64 | arm64) echo aarch64 ;;
        *) return 1 ;;
    esac
}

require_tools() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "the program $tool is missing: apt-get install $tool"
    done
    command -v curl >/dev/null || command -v wget >/dev/null || fail 'curl is missing: apt-get install curl'
}

# --- fetching and verifying

# fetch NAME FILE MAX-BYTES: copies RELEASES/NAME to FILE. No more than MAX-BYTES are ever written.
fetch() {
    local from="$RELEASES/$1" to="$2" max="$3"
    (
        ulimit -c 0 -f $((max / 1024 + 1))
        case $from in
            http://* | https://*) download "$from" "$to" "$max" ;;
            file://*) cp -- "${from#file://}" "$to" ;;
            *) cp -- "$from" "$to" ;;
        esac
    ) 2>"$SCRATCH/said" || fail "can't fetch $from: $(last_words)"
    [ "$(size_of "$to")" -le "$max" ] || fail "$from is larger than $max bytes, which no release is"
}

download() {
    if command -v curl >/dev/null; then
        curl -fsSL --proto '=http,https' --connect-timeout "$CONNECT_SECONDS" --max-time "$TRANSFER_SECONDS" \
            --retry "$TRIES" --retry-delay 2 --max-filesize "$3" -o "$2" -- "$1"
    else
        wget -q --connect-timeout="$CONNECT_SECONDS" --read-timeout=60 --tries="$TRIES" -O "$2" -- "$1"
    fi
}

last_words() {
    local words
    words=$(grep -v '^ *$' "$SCRATCH/said" | tail -n 1) || true
    printf '%s' "${words:-no answer}"
}

size_of() { stat -c %s -- "$1"; }

valid_version() { [[ $1 =~ ^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}$ ]]; }

# lower A B: whether version A comes before B.
lower() {
    [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

installed_version() {
    local target
    target=$(readlink -- "$HOME_DIR/current") || return 0
    basename -- "$target"
}

choose_version() {
    VERSION=${MAILSTEAD_VERSION:-}
    if [ -z "$VERSION" ]; then
        fetch latest "$SCRATCH/latest" "$MAX_SMALL_BYTES"
        VERSION=$(tr -d ' \r\n' <"$SCRATCH/latest" | tr -cd '[:print:]' | head -c 64)
    fi
    valid_version "$VERSION" || fail "'$VERSION' is not a version number like 1.2.3"
    local installed
    installed=$(installed_version)
    if [ -z "${MAILSTEAD_VERSION:-}" ] && valid_version "$installed" && lower "$VERSION" "$installed"; then
        fail "version $VERSION is older than the installed $installed; to go back on purpose set MAILSTEAD_VERSION=$VERSION"
    fi
}

write_public_key() {
    local key=${MAILSTEAD_PUBKEY:-$RELEASE_PUBLIC_KEY}
    case $key in
        *'-----BEGIN PUBLIC KEY-----'*) printf '%s\n' "$key" >"$SCRATCH/key.pem" ;;
        *) cp -- "$key" "$SCRATCH/key.pem" 2>/dev/null || fail "MAILSTEAD_PUBKEY: can't read the file $key" ;;
    esac
    openssl pkey -pubin -in "$SCRATCH/key.pem" -noout 2>/dev/null || fail 'MAILSTEAD_PUBKEY is not a public key in PEM form'
}

verify_manifest() {
    fetch "$VERSION/manifest" "$SCRATCH/manifest" "$MAX_SMALL_BYTES"
    fetch "$VERSION/manifest.sig" "$SCRATCH/manifest.sig" "$MAX_SMALL_BYTES"
    write_public_key
    openssl pkeyutl -verify -pubin -inkey "$SCRATCH/key.pem" -rawin -in "$SCRATCH/manifest" \
        -sigfile "$SCRATCH/manifest.sig" >/dev/null 2>&1 ||
        fail "the signature of release $VERSION at $RELEASES is wrong; nothing was installed"
    [ "$(sed -n 1p "$SCRATCH/manifest")" = 'mailstead-release 1' ] ||
        fail "the manifest of release $VERSION is of a kind this install.sh doesn't know; fetch a newer install.sh"
    [ "$(sed -n 2p "$SCRATCH/manifest")" = "version $VERSION" ] ||
        fail "the manifest at $RELEASES/$VERSION belongs to another release ($(sed -n 2p "$SCRATCH/manifest" | head -c 80))"
}

read_artifact_line() {
    local line
    line=$(awk -v arch="$ARCH" '$1 == "artifact" && $2 == arch && NF == 5' "$SCRATCH/manifest")
    [ -n "$line" ] || fail "release $VERSION has nothing for $ARCH"
    read -r _ _ ARTIFACT SIZE SHA256 <<<"$line"
    [[ $ARTIFACT =~ ^mailstead-[0-9A-Za-z._-]+\.tar\.gz$ && $SIZE =~ ^[0-9]{1,10}$ && $SHA256 =~ ^[0-9a-f]{64}$ ]] ||
        fail "the manifest of release $VERSION is damaged"
    [ "$SIZE" -le "$MAX_ARTIFACT_BYTES" ] || fail "release $VERSION claims $SIZE bytes, which no release has"
}

fetch_artifact() {
    local file="$SCRATCH/artifact.tar.gz" got
    fetch "$VERSION/$ARTIFACT" "$file" "$MAX_ARTIFACT_BYTES"
    got=$(size_of "$file")
    [ "$got" = "$SIZE" ] || fail "$ARTIFACT has $got bytes instead of $SIZE: the download is damaged, try again"
    got=$(sha256sum -- "$file")
    [ "${got%% *}" = "$SHA256" ] || fail "$ARTIFACT has the wrong SHA-256: the download is damaged or was changed"
    [ "$(tar -tzf "$file" 2>/dev/null)" = mailstead ] || fail "$ARTIFACT doesn't consist of the one program mailstead"
    mkdir -- "$SCRATCH/content"
    tar -xzf "$file" -C "$SCRATCH/content" --no-same-owner mailstead 2>"$SCRATCH/said" ||
        fail "can't unpack $ARTIFACT: $(last_words)"
    [ -f "$SCRATCH/content/mailstead" ] && [ ! -L "$SCRATCH/content/mailstead" ] ||
        fail "$ARTIFACT doesn't consist of the one program mailstead"
}

# --- putting it in place

make_dir() {
    [ -d "$1" ] || { mkdir -m 755 -- "$1" 2>"$SCRATCH/said" || fail "can't make $1: $(last_words)" && MADE_DIRS+=("$1"); }
}

# place PROGRAM: gives the verified program its place under its version; complete and on the disk, or not at all.
place() {
    local final="$HOME_DIR/releases/$VERSION"
    PROGRAM="$final/mailstead"
    if [ -f "$PROGRAM" ] && cmp -s -- "$1" "$PROGRAM"; then
        return
    fi
    make_dir /opt
    make_dir "$HOME_DIR"
    make_dir "$HOME_DIR/releases"
    UNPACKED="$HOME_DIR/releases/.$VERSION.new"
    {
        rm -rf -- "$UNPACKED" && mkdir -m 755 -- "$UNPACKED" &&
            install -m 755 -- "$1" "$UNPACKED/mailstead" && sync -- "$UNPACKED/mailstead" "$UNPACKED"
    } 2>"$SCRATCH/said" || fail "can't write to $HOME_DIR: $(last_words)"
    if [ -e "$final" ]; then
        # The same version with other content: a damaged file, or a checkout built again. Running programs keep
        # their old file open, so only the file changes its place.
        mv -f -T -- "$UNPACKED/mailstead" "$PROGRAM"
    else
        mv -T -- "$UNPACKED" "$final"
        UNPACKED=''
    fi
    sync -- "$final" "$HOME_DIR/releases"
}

# hand_over ARGUMENT...: runs the set-up. A script that came by pipe has used up stdin, so the terminal is asked for.
hand_over() {
    clean_up
    trap - EXIT
    if [ ! -t 0 ] && { : </dev/tty; } 2>/dev/null; then
        exec "$PROGRAM" setup "$@" </dev/tty
    fi
    exec "$PROGRAM" setup "$@"
}

finish() {
    if [ "$SETUP" = yes ]; then
        say "Mailstead $VERSION is in place; setting up"
        hand_over "$@"
    fi
    say "Mailstead $VERSION is installed: $PROGRAM"
    say "To set this machine up: sudo $PROGRAM setup"
}

install_release() {
    require_root
    require_system
    ARCH=$(architecture) || fail "this machine is a $(uname -m); there are releases for x86_64 and aarch64"
    require_tools openssl tar sha256sum awk
    RELEASES=${MAILSTEAD_RELEASES:-$DEFAULT_RELEASES}
    RELEASES=${RELEASES%/}
    choose_version
    verify_manifest
    read_artifact_line
    say "Mailstead $VERSION for $ARCH: fetching $((SIZE / 1048576 + 1)) MB from $RELEASES"
    fetch_artifact
    place "$SCRATCH/content/mailstead"
    finish "$@"
}

# --- from a checkout

checkout() {
    local script=${BASH_SOURCE[0]:-} folder
    [ -n "$script" ] && [ -f "$script" ] || return 1
    folder=$(cd -- "$(dirname -- "$script")" && pwd)
    [ -f "$folder/Cargo.toml" ] && [ -d "$folder/src/mailstead" ] && echo "$folder"
}

# as_builder COMMAND...: as the ordinary user who called sudo, if there is one, so that the checkout stays theirs.
as_builder() {
    if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        local home
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        runuser -u "$SUDO_USER" -- env HOME="$home" PATH="$home/.cargo/bin:$PATH" "$@"
    else
        env PATH="${HOME:-/root}/.cargo/bin:$PATH" "$@"
    fi
}

# install_packages PACKAGE...: those that are missing. Services among them are not started and not enabled:
# Mailstead starts its own.
install_packages() {
    local package missing=() made_policy=no
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "not installed: ${missing[*]} (sudo apt-get install ${missing[*]})"
        return 0
    fi
    say "installing ${missing[*]}"
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        made_policy=yes
    fi
    local code=0
    apt_get install "${missing[@]}" || { apt_get update && apt_get install "${missing[@]}"; } || code=$?
    [ "$made_policy" = no ] || rm -f /usr/sbin/policy-rc.d
    [ "$code" = 0 ] || fail "apt-get could not install ${missing[*]}: $(last_words)"
    for package in nginx nsd unbound; do
        [[ " ${missing[*]} " != *" $package "* ]] || systemctl disable "$package" >/dev/null 2>&1 || true
    done
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" \
        >"$SCRATCH/apt" 2>"$SCRATCH/said" </dev/null
}

rust_is_new_enough() {
    local version
    version=$(cd -- "$SOURCE" && as_builder cargo --version 2>/dev/null | awk '{print $2}') || return 1
    [ -n "$version" ] && ! lower "$version" "$RUST_WANTED"
}

require_rust() {
    rust_is_new_enough && return
    if ! as_builder rustup --version >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && apt-cache show rustup >/dev/null 2>&1; then
        install_packages rustup
    fi
    if as_builder rustup --version >/dev/null 2>&1; then
        say 'fetching the Rust compiler'
        as_builder rustup toolchain install stable --profile minimal --no-self-update >/dev/null 2>&1 || true
        rust_is_new_enough || as_builder rustup default stable >/dev/null 2>&1 || true
    fi
    rust_is_new_enough || fail "building needs Rust $RUST_WANTED or newer: install it with rustup (https://rustup.rs)"
}

# build: sets BUILT to the program made from the checkout, and VERSION to its version.
build() {
    local profile=(--release) folder=release target
    if [ "${MAILSTEAD_PROFILE:-}" = dev ]; then
        profile=() folder=debug
    fi
    command -v cc >/dev/null || fail 'a C compiler is missing: sudo apt-get install build-essential'
    require_rust
    VERSION=$(sed -n 's/^version = "\([^"]*\)".*/\1/p' "$SOURCE/Cargo.toml" | head -n 1)
    say "building Mailstead $VERSION from $SOURCE"
    (cd -- "$SOURCE" && as_builder cargo build "${profile[@]}" --locked --ignore-rust-version) ||
        fail 'the build failed; what the compiler said stands above'
    target=${CARGO_TARGET_DIR:-$SOURCE/target}
    BUILT="$target/$folder/mailstead"
    [ -x "$BUILT" ] || fail "the build ended well, but there is no $BUILT"
}

install_from_checkout() {
    require_root
    require_system
    architecture >/dev/null || fail "this machine is a $(uname -m); Mailstead runs on x86_64 and aarch64"
    install_packages build-essential ca-certificates curl
    build
    place "$BUILT"
    finish "$@"
}

demo() {
    install_packages build-essential ca-certificates nginx nsd unbound
    build
    clean_up
    trap - EXIT
    as_builder "$BUILT" demo "$@"
}

main() {
    SETUP=yes
    local demo=no rest=()
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h) help && return ;;
            --no-setup) SETUP=no ;;
            --demo) demo=yes ;;
            --) shift && rest+=("$@") && break ;;
            *) rest+=("$1") ;;
        esac
        shift
    done
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/mailstead.XXXXXXXX" 2>/dev/null) || fail "can't write to ${TMPDIR:-/tmp}"
    SOURCE=$(checkout) || SOURCE=''
    if [ "$demo" = yes ]; then
        [ -n "$SOURCE" ] || fail '--demo needs a checkout of the source; with a release installed run: mailstead demo'
        demo ${rest[@]+"${rest[@]}"}
    elif [ -n "$SOURCE" ] && [ -z "${MAILSTEAD_RELEASES:-}" ]; then
        install_from_checkout ${rest[@]+"${rest[@]}"}
    else
        install_release ${rest[@]+"${rest[@]}"}
    fi
}

{ main "$@"; exit; }
