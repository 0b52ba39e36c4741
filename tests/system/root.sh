#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes a Debian 12 root for the container once, in the cache folder of tests/stack/parts.sh, and prints its
# path. It has systemd and nothing that milvus-cdc needs: that is what installing the package is to pull in;
# those packages only lie in apt's cache already. Mirrors and proxies are those that apt of this machine uses.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
parts=$("$here/../stack/parts.sh" path)
suite=bookworm
root=$parts/$suite-root-1
PATH=$PATH:/usr/sbin:/sbin
# what the package's control file asks for, and what it suggests for the tests
wanted="ca-certificates curl debconf libcurl4 libjansson4 libmicrohttpd12 libprotobuf-c1 librdkafka1
	libsqlite3-0 libssl3 libsystemd0 libyaml-0-2"

if [ -d "$root" ]; then
	echo "$root"
	exit
fi
if [ "$(id -u)" != 0 ]; then
	echo "root.sh: needs root: debootstrap and systemd-nspawn do" >&2
	exit 1
fi
mkdir -p "$parts"
exec 9>"$parts/.lock-root"
flock 9
if [ -d "$root" ]; then # made while we waited
	echo "$root"
	exit
fi
# SITE RELEASE COMPONENT of everything of Debian's that apt knows
sources=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' |
	awk '$NF == "Debian" && $3 == "main"' | sort -u)
site=$(awk -v s=$suite '$2 == s { print $1; exit }' <<<"$sources")
if [ -z "$site" ]; then
	echo "root.sh: apt of this machine knows no mirror of Debian $suite" >&2
	exit 1
fi
temp=$(mktemp -d "$parts/.root.XXXXXX")
log=$temp.log
trap 'rm -rf --one-file-system "$temp" "$log"' EXIT
# where the mirror may be reached by this machine only through its own proxy settings
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
[ -z "${http_proxy-}" ] || export http_proxy
[ -z "${https_proxy-}" ] || export https_proxy
make_root()
{
	debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates $suite "$temp" "$site"
	awk '{ print "deb", $1, $2, "main" }' <<<"$sources" >"$temp/etc/apt/sources.list"
	apt-config dump Acquire | grep -E '^Acquire::(https?::|Check-|Retries)' \
		>"$temp/etc/apt/apt.conf.d/60host" || true
	echo 'APT::Install-Recommends "false";' >"$temp/etc/apt/apt.conf.d/61small"
	cp -L /etc/resolv.conf "$temp/etc/resolv.conf"
	chroot "$temp" apt-get -q update
	chroot "$temp" apt-get -q -y install --download-only $wanted
	# the machine's clock, network and logins are not the container's business
	chroot "$temp" systemctl mask systemd-timesyncd.service systemd-resolved.service \
		systemd-networkd.service console-getty.service systemd-logind.service
	mkdir -p "$temp/etc/systemd/journald.conf.d"
	printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' \
		>"$temp/etc/systemd/journald.conf.d/tests.conf"
	: >"$temp/etc/machine-id"
}
if ! make_root </dev/null >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "root.sh: the root could not be made" >&2
	exit 1
fi
chmod 755 "$temp"
mv "$temp" "$root"
echo "$root"
