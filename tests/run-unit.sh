#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs TAP test programs, some side by side (most of them wait for servers of their own); prints failures whole,
# a line for each program as it ends, and "N passed, N failed". A program that crashes or prints no plan counts
# as one failure. T_JOBS: programs at a time (one more than there are processors).
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export dir

one() # PROGRAM
{
	local t=$1 out start rc ok bad

	out=$(mktemp -p "$dir" out.XXXXXX)
	start=$(date +%s%3N)
	timeout "${T_TIMEOUT:-300}" "$t" >"$out" 2>&1
	rc=$?
	ok=$(grep -c '^ok ' "$out")
	bad=$(grep -c '^not ok ' "$out")
	if { [ $rc -ne 0 ] && [ "$bad" -eq 0 ]; } || ! grep -q '^1\.\.' "$out"; then
		bad=$((bad + 1))
		echo "# $t ended with status $rc" >>"$out"
	fi
	{
		printf '%-58s %4d ok %3d failed %6d ms\n' "${t#*/tests/}" "$ok" "$bad" $(($(date +%s%3N) - start))
		[ "$bad" -eq 0 ] || grep -v '^ok ' "$out" | tail -n 60
	} >"$out.said"
	cat "$out.said" # in one piece
	echo "$ok $bad" >"$out.count"
}
export -f one

printf '%s\0' "$@" | xargs -0 -n 1 -P "${T_JOBS:-$(($(nproc) + 1))}" bash -c 'one "$1"' one
read -r passed failed < <(cat "$dir"/*.count | awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }')
if [ "$(ls "$dir"/*.count | wc -l)" -ne $# ]; then
	echo "# not all programs ran"
	failed=$((failed + 1))
fi
if [ -n "${T_COUNTS:-}" ]; then echo "$passed $failed" >>"$T_COUNTS"; fi
if [ -n "${T_COUNTS:-}" ]; then echo "# these: $passed ok, $failed not ok"; else echo "$passed passed, $failed failed"; fi
[ "$failed" -eq 0 ]
