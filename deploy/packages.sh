#!/usr/bin/env bash
# Installs with apt-get what the build and the tests need and this machine lacks. Debian 12 and 13. `arm64`: what a cross build
# for 64-bit ARM and its tests need (deploy/aarch64.ini); the machine then knows that architecture's packages.
# Without the right to install, what is needed ends it with the line to run, and what is only wanted is named and done without.
set -eu
needed="gcc meson ninja-build pkg-config python3
 libuv1-dev libnng-dev libprotobuf-c-dev protobuf-c-compiler libsodium-dev libsqlite3-dev libinih-dev libjansson-dev
 check libsubunit-dev"
# a quicker build, the Vulkan backend and a driver to test it with, records sealed by OpenSSL, a reference of gradients, curves in reports
wanted="ccache git libvulkan-dev glslc mesa-vulkan-drivers vulkan-validationlayers libssl-dev protobuf-compiler python3-numpy libjs-chart.js"
update=""
if [ "${1:-}" = arm64 ]; then
    needed="ccache gcc-aarch64-linux-gnu qemu-user-static"
    wanted=""
    for p in libc6-dev libuv1-dev libnng-dev libprotobuf-c-dev libsodium-dev libssl-dev libsqlite3-dev libinih-dev libjansson-dev check libsubunit-dev; do
        needed="$needed $p:arm64"
    done
    dpkg --print-foreign-architectures | grep -qx arm64 || update="dpkg --add-architecture arm64"
fi
native=$(dpkg --print-architecture)

missing() { # of these packages
    for p in "$@"; do
        case $p in *:*) of=${p#*:} ;; *) of=$native ;; esac # a package may be there for both
        dpkg-query -W -f='${db:Status-Status} ${Architecture}\n' "$p" 2>/dev/null | grep -qxE "installed ($of|all)" || echo "$p"
    done
}
# shellcheck disable=SC2086
needed=$(missing $needed | paste -sd' ') wanted=$(missing $wanted | paste -sd' ')
all=$needed${needed:+${wanted:+ }}$wanted
[ -n "$all" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    sudo=none
    # one that asks for a password needs somebody who gives it
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then sudo=sudo; fi
fi
install() { # these packages
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
without() { # why
    echo "warning: $1, done without: $wanted (as root: apt-get install $wanted)" >&2
}
if [ "$sudo" = none ]; then
    if [ -n "$needed" ]; then
        echo "error: the build needs packages, and only root installs them: ${update:+$update && apt-get update && }apt-get install $all" >&2
        exit 1
    fi
    without "not installed"
    exit 0
fi
echo "installing: $all" >&2
# shellcheck disable=SC2086
[ -z "$update" ] || $sudo $update
$sudo apt-get update -qq || true # what it knows already may do
# shellcheck disable=SC2086
if ! install $all; then
    [ -n "$wanted" ] || exit 1
    [ -z "$needed" ] || install $needed
    without "cannot be installed"
fi
