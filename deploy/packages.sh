#!/usr/bin/env bash
# Installs with apt-get what the build and the tests need and this machine lacks. Debian 12 and 13. `arm64`: what a cross build
# for 64-bit ARM and its tests need (deploy/aarch64.ini); the machine then knows that architecture's packages.
set -eu
packages="gcc meson ninja-build ccache pkg-config python3 python3-numpy git
 libuv1-dev libnng-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libsodium-dev libssl-dev libsqlite3-dev
 libinih-dev libjansson-dev libjs-chart.js check libsubunit-dev
 libvulkan-dev glslc mesa-vulkan-drivers vulkan-validationlayers"
update=""
if [ "${1:-}" = arm64 ]; then
    packages="gcc-aarch64-linux-gnu qemu-user-static"
    for p in libc6-dev libuv1-dev libnng-dev libprotobuf-c-dev libsodium-dev libssl-dev libsqlite3-dev libinih-dev libjansson-dev check libsubunit-dev; do
        packages="$packages $p:arm64"
    done
    dpkg --print-foreign-architectures | grep -qx arm64 || update="dpkg --add-architecture arm64"
fi
missing=""
native=$(dpkg --print-architecture)
for p in $packages; do
    case $p in *:*) of=${p#*:} ;; *) of=$native ;; esac # a package may be there for both
    dpkg-query -W -f='${db:Status-Status} ${Architecture}\n' "$p" 2>/dev/null | grep -qxE "installed ($of|all)" || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
echo "installing:$missing" >&2
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
[ -z "$update" ] || $sudo $update
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
