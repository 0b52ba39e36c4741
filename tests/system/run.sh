#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The appliance: builds the package and tries it in a booted Debian 12 container against the running stack, whose
# variables must be in the environment (stack.sh env). Prints TAP. Needs root and `deps.sh all`.
#
#   run.sh FOLDER [SUBSTRING...]    FOLDER: work files; SUBSTRING: only tests with it in their name
#
# DEB (a package that is there already), PROGRAM_TEST (a program built with VARIANT=test) and PROGRAM_OLDER (see
# older.sh) save building them.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:?usage: run.sh FOLDER [SUBSTRING...]}
shift
mkdir -p "$work"
work=$(cd "$work" && pwd)
ROOT_CACHED=$(tests/system/root.sh)
if [ -z "${DEB-}" ]; then
	packaging/deb.sh "$work/deb" >&2
	DEB=$(ls "$work"/deb/milvus-cdc_*.deb)
fi
if [ -z "${PROGRAM_TEST-}" ]; then
	make -s -j"$(nproc)" VARIANT=test all >&2
	PROGRAM_TEST=build/test/milvus-cdc
fi
[ -n "${PROGRAM_OLDER+set}" ] || PROGRAM_OLDER=$(tests/system/older.sh "$work/before")
export ROOT_CACHED DEB PROGRAM_TEST PROGRAM_OLDER
exec "$PY" tests/system/run.py "$work" "$@"
