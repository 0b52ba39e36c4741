#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make deb: builds the Debian package from a copy of the tree in build/deb, where debian/ is
# packaging/debian. The same tree gives the same package, byte by byte: times are those of the changelog.
#
#   deb.sh [FOLDER [source]]    FOLDER: instead of build/deb; source: the source package instead
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^## \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | head -n 1)
told=$(dpkg-parsechangelog -l packaging/debian/changelog -S Version)
if [ "$version" != "$told" ]; then
	echo "deb.sh: CHANGELOG.md says $version, packaging/debian/changelog says $told: make them agree" >&2
	exit 1
fi
out=${1:-build/deb}
case ${2-binary} in
binary) what=-b made=deb ;;
source) what=-S made=dsc ;;
*)
	echo "usage: deb.sh [FOLDER [source]]" >&2
	exit 64
	;;
esac
rm -rf "$out"
tree=$out/milvus-cdc-$version
mkdir -p "$tree"
cp -a Makefile src include systemd sql packaging README.md ARCHITECTURE.md CHANGELOG.md LICENSE "$tree"
cp -a packaging/debian "$tree/debian"
find "$tree" -name __pycache__ -prune -exec rm -rf {} +
(cd "$tree" && dpkg-buildpackage $what -us -uc "-j$(nproc)") >"$out/log" 2>&1 || {
	tail -n 40 "$out/log" >&2
	echo "deb.sh: dpkg-buildpackage failed, see $out/log" >&2
	exit 1
}
ls "$out"/*."$made"
