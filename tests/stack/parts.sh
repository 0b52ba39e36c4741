#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fetches the real parts that Debian does not have into the cache folder CDC_PARTS
# (default ~/.cache/milvus-cdc), once:
#
#   kafka-<version>/lib/*.jar   Kafka, by Maven
#   milvus-<version>/           the Milvus server, its libraries and its configuration template
#   pymilvus-<version>/         a Python environment with the Milvus client
#
# Each part is made in a temporary folder and renamed, so it is complete or absent. Runs side by
# side wait for each other. Needs `deps.sh all`.
#
#   parts.sh         fetch what is missing
#   parts.sh path    print the cache folder
set -euo pipefail

kafka=3.9.1
milvus=2.3.5 # the newest server whose wheel holds Linux binaries
pymilvus=2.3.7

parts=${CDC_PARTS:-$HOME/.cache/milvus-cdc}

fetch_kafka() # FOLDER
{
	cat >"$1/pom.xml" <<-EOF
	<project>
	  <modelVersion>4.0.0</modelVersion>
	  <groupId>milvus-cdc</groupId><artifactId>stack</artifactId><version>1</version>
	  <dependencies>
	    <dependency>
	      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
	      <version>$kafka</version>
	    </dependency>
	    <dependency>
	      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId>
	      <version>1.7.36</version>
	    </dependency>
	  </dependencies>
	</project>
	EOF
	(cd "$1" && mvn -q -B dependency:copy-dependencies -DincludeScope=runtime \
		-DoutputDirectory=lib >mvn.log 2>&1 </dev/null) || { cat "$1/mvn.log" >&2 && return 1; }
	ls "$1"/lib/kafka_2.13-$kafka.jar >/dev/null
}

fetch_milvus() # FOLDER
{
	# pip of the client's environment: the system's Python may come without one
	"$parts/pymilvus-$pymilvus/bin/python" -m pip download -q --disable-pip-version-check \
		--no-deps --only-binary :all: -d "$1" milvus==$milvus
	"$parts/pymilvus-$pymilvus/bin/python" -m zipfile -e "$1"/milvus-*.whl "$1/wheel"
	mkdir "$1/bin"
	mv "$1"/wheel/milvus/data/bin/*.lzma "$1/bin/"
	mv "$1/wheel/milvus/data/config.yaml.template" "$1/wheel/milvus/data/glog.conf" "$1/"
	rm -r "$1/wheel" "$1"/milvus-*.whl
	# xz files in spite of their name
	printf '%s\0' "$1"/bin/*.lzma | xargs -0 -n 1 -P "$(nproc)" xz -d --format=xz -S .lzma
	chmod 755 "$1"/bin/*
}

fetch_pymilvus() # FOLDER
{
	local python=python3

	# a python3 found first in PATH may be a version manager's shim without venv
	if /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null; then
		python=/usr/bin/python3
	fi
	"$python" -m venv "$1"
	# the three pins are what pymilvus $pymilvus was written against, but does not ask for
	"$1/bin/python" -m pip install -q --disable-pip-version-check pymilvus==$pymilvus \
		'setuptools<70' 'marshmallow<4' 'environs<10'
	"$1/bin/python" -W ignore -c 'import pymilvus'
}

part() # NAME VERSION
{
	local to="$parts/$1-$2"

	[ ! -d "$to" ] || return 0
	echo "parts.sh: fetching $1 $2"
	temp=$(mktemp -d "$parts/.$1.XXXXXX")
	trap 'rm -rf "$temp"' EXIT # each part runs in a subshell of its own
	"fetch_$1" "$temp"
	chmod 755 "$temp"
	mv "$temp" "$to"
}

complete()
{
	[ -d "$parts/kafka-$kafka" ] && [ -d "$parts/milvus-$milvus" ] &&
		[ -d "$parts/pymilvus-$pymilvus" ]
}

case "${1-}" in
path) echo "$parts" && exit ;;
'') ;;
*) echo "usage: parts.sh [path]" >&2 && exit 64 ;;
esac

! complete || exit 0
mkdir -p "$parts"
exec 9>"$parts/.lock"
flock 9
rm -rf "$parts"/.kafka.?????? "$parts"/.milvus.?????? "$parts"/.pymilvus.?????? # of a killed run
# process groups of their own, so that an end of ours can end them with all they started
set -m
(part kafka $kafka) </dev/null &
kafka_job=$!
(part pymilvus $pymilvus; part milvus $milvus) </dev/null &
milvus_job=$!
set +m
trap 'kill -- -$kafka_job -$milvus_job 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
wait $kafka_job
wait $milvus_job
trap - EXIT
complete
