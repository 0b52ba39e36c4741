#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make check: the whole test command, from nothing on a fresh Debian 12. Installs what is missing, builds,
# lints, runs unit, contract and fault tests (plain, under ASan+UBSan, under TSan), then two rows of tests on real
# servers side by side, since most of both is waiting: end to end, and faults, on one stack; an ordinary target, secure
# links and the package itself on stacks of their own. All but the faults runs in the installed package's unit, in a
# booted container. Ends with "N passed, N failed"; what cannot run counts as failed.
set -u
cd "$(dirname "$0")/.."
export T_COUNTS
T_COUNTS=$(mktemp)
jobs=$(nproc)
began=$(date +%s)
export STACK=${STACK:-8}
step() { printf '\n=== %s (%d s)\n' "$*" $(($(date +%s) - began)); }
# count NAME COMMAND...: one test that is a command
count() {
	local name=$1
	shift
	if "$@"; then echo "ok - $name"; echo "1 0" >>"$T_COUNTS"; else echo "not ok - $name"; echo "0 1" >>"$T_COUNTS"; fi
}
finish() {
	jobs -p | xargs -r kill 2>/dev/null
	wait
	for n in 0 1 2 3; do STACK=$((STACK + n)) tests/stack/stack.sh wipe >/dev/null 2>&1; done
	rm -rf "$work"
	awk '{ p += $1; f += $2 } END { printf "%d passed, %d failed\n", p, f }' "$T_COUNTS"
	local failed
	failed=$(awk '{ f += $2 } END { print f + 0 }' "$T_COUNTS")
	rm -f "$T_COUNTS"
	[ "$failed" -eq 0 ] && exit 0
	exit 1
}
work=$(mktemp -d)
trap finish EXIT

step "parts"
count "what is missing can be installed" tests/stack/deps.sh all || true
count "the parts of a real stack are there" tests/stack/parts.sh
step "build"
count "the release program builds without a warning" make -s -j"$jobs" WERROR=1 all
count "gcc and clang builds without a warning, layers, format" make -s lint
programs() { make -s -j"$jobs" VARIANT="$1" all test-programs >"$work/build-$1.log" 2>&1; }
packages() { # ours, and the program of an older one, which ours is an upgrade of
	packaging/deb.sh "$work/deb" && tests/system/older.sh "$work/older" >"$work/older.path"
}
programs test &
for variant in test asan tsan; do
	step "unit, contract and fault tests: $variant"
	wait $! && built=true || built=false
	cat "$work/build-$variant.log"
	case $variant in # the next one is built while this one runs
	test) programs asan & ;;
	asan) programs tsan & ;;
	tsan) packages >"$work/build-deb.log" 2>&1 & ;;
	esac
	if $built; then make -s VARIANT=$variant test; else count "the $variant build" false; fi
done
count "the packages are built" wait $!
cat "$work/build-deb.log"
DEB=$(ls "$work"/deb/milvus-cdc_*.deb) PROGRAM_OLDER=$(<"$work/older.path")
export DEB PROGRAM_OLDER # of the rows that install it

# tap NAME COMMAND...: prints TAP; each of its tests counts, and one for the run if it does not end
tap()
{
	local name=$1 out="$work/$1.tap"
	shift
	"$@" 2>&1 | tee "$out"
	if grep -q '^1\.\.' "$out"; then
		echo "$(grep -c '^ok ' "$out") $(grep -c '^not ok ' "$out")" >>"$T_COUNTS"
	else
		count "the run of $name ends" false
	fi
}

ordinary() { # an ordinary target
	export TARGET_TT=true
	count "a stack with an ordinary target comes up" tests/stack/stack.sh up
	eval "$(tests/stack/stack.sh env)"
	tap upsert env CDC_INSIDE=unit "$PY" tests/e2e/run.py "$work/upsert" u1 m1
	unset TARGET_TT
	tests/stack/stack.sh wipe
}
secure() { # starts its servers itself
	eval "$(tests/stack/stack.sh env)"
	tap secure env CDC_INSIDE=unit "$PY" tests/e2e/run.py "$work/secure" s1
	tests/stack/stack.sh wipe
}
package() { # in a booted container
	count "a stack for the package comes up" tests/stack/stack.sh up
	eval "$(tests/stack/stack.sh env)"
	tap system tests/system/run.sh "$work/system"
	tests/stack/stack.sh wipe
}
beside() {
	export STACK=$((STACK + 1))
	ordinary
	STACK=$((STACK + 1))
	secure
	STACK=$((STACK + 1))
	package
}

step "a real stack"
count "two etcd, Kafka and two Milvus come up" tests/stack/stack.sh up
eval "$(tests/stack/stack.sh env)"
make -s VARIANT=asan test-real
(beside) >"$work/beside.log" 2>&1 &
step "end to end, inside the unit"
tap e2e env CDC_INSIDE=unit "$PY" tests/e2e/run.py "$work/e2e"
step "faults on real servers"
count "nothing is lost or doubled by a little of each fault" \
	"$PY" tests/crash/chaos.py "$work/chaos" --short --program "$PWD/build/test/milvus-cdc"
tests/stack/stack.sh wipe
step "beside all that: an ordinary target, secure links, the package in a booted container"
wait
cat "$work/beside.log"
step "done"
