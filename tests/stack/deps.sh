#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages that building or running the tests needs, and only what is missing:
# a second run starts no package manager.
#
#   deps.sh build   compilers and libraries
#   deps.sh all     those, and what the stack of real parts runs on (parts.sh, stack.sh), and the package
set -euo pipefail

build="gcc clang clang-format libclang-rt-14-dev make pkg-config sqlite3 protobuf-c-compiler
	libsqlite3-dev libmicrohttpd-dev libjansson-dev libcurl4-openssl-dev librdkafka-dev
	libsystemd-dev libssl-dev libprotobuf-c-dev libyaml-dev"
run="etcd-server etcd-client kcat curl iproute2 ca-certificates jq maven python3-venv xz-utils"
# the Debian package, and the container that it is tried in (tests/system)
package="dpkg-dev debhelper fakeroot po-debconf bash-completion lintian autopkgtest debootstrap
	systemd-container util-linux"

case "${1-}" in
build) wanted=$build ;;
all)
	wanted="$build $run $package"
	command -v java >/dev/null || wanted+=" openjdk-17-jre-headless"
	;;
*)
	echo "usage: deps.sh build|all" >&2
	exit 64
	;;
esac

if ! command -v dpkg-query >/dev/null; then
	echo "deps.sh: not a Debian system; needed are:" $wanted >&2
	exit 1
fi
# A package that dpkg never heard of is an error of dpkg-query, not of ours.
present=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null |
	awk '$2 == "installed" { print $1 }' | sort -u || true)
missing=$(comm -23 <(printf '%s\n' $wanted | sort -u) <(printf '%s\n' "$present"))
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	sudo=sudo
	if ! command -v sudo >/dev/null; then
		echo "deps.sh: neither root nor sudo; missing are:" $missing >&2
		exit 1
	fi
fi

# Debian starts a daemon as soon as it is installed. The tests run etcd themselves, so nothing may
# start now (policy-rc.d) or at the next boot (disable); a policy that is already there is kept.
policy=/usr/sbin/policy-rc.d
made_policy=0
log=$(mktemp)
cleanup()
{
	[ $made_policy = 0 ] || $sudo rm -f $policy
	rm -f "$log"
}
trap cleanup EXIT
if [ ! -e $policy ]; then
	made_policy=1
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
	$sudo chmod 755 $policy
fi

echo "deps.sh: installing" $missing
if ! { $sudo apt-get -q update && $sudo env DEBIAN_FRONTEND=noninteractive \
	apt-get -q -y install --no-install-recommends $missing; } </dev/null >"$log" 2>&1; then
	tail -n 40 "$log" >&2
	echo "deps.sh: apt-get failed" >&2
	exit 1
fi

if grep -qx etcd-server <<<"$missing" && command -v systemctl >/dev/null; then
	$sudo systemctl disable etcd 2>/dev/null || true
fi
