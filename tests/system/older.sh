#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the newest program that tests/fixtures/released tells of, from the repository's history, for the tests of
# upgrades, and prints where it is. Where that history is not at hand (a shallow clone, an unpacked archive) it says so
# and prints nothing.
#
#   older.sh FOLDER    FOLDER: for the tree; what is in it is removed
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:?usage: older.sh FOLDER}
read -r version commit < <(grep -v '^#' tests/fixtures/released)
tree=$folder/milvus-cdc-$version
rm -rf "$folder"
mkdir -p "$tree"
if ! git archive "$commit" 2>/dev/null | tar -x -C "$tree" 2>/dev/null; then
	echo "older.sh: the history here does not reach back to milvus-cdc $version" >&2
	exit
fi
make -s -C "$tree" -j"$(nproc)" all >&2
told=$("$tree/build/release/milvus-cdc" --version)
case $told in
*" $version"*) realpath "$tree/build/release/milvus-cdc" ;;
*)
	echo "older.sh: the program that was built says '$told', not $version" >&2
	exit 1
	;;
esac
