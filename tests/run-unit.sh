#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs TAP test programs; prints failures whole, a line for each program, and "N passed, N failed".
# A program that crashes or prints no plan counts as one failure.
set -u
passed=0 failed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for t in "$@"; do
	start=$(date +%s%3N)
	timeout "${T_TIMEOUT:-300}" "$t" >"$out" 2>&1
	rc=$?
	ok=$(grep -c '^ok ' "$out")
	bad=$(grep -c '^not ok ' "$out")
	if { [ $rc -ne 0 ] && [ "$bad" -eq 0 ]; } || ! grep -q '^1\.\.' "$out"; then
		bad=$((bad + 1))
		echo "# $t ended with status $rc"
	fi
	printf '%-58s %4d ok %3d failed %6d ms\n' "${t#*/tests/}" "$ok" "$bad" $(($(date +%s%3N) - start))
	[ "$bad" -eq 0 ] || grep -v '^ok ' "$out" | tail -n 60
	passed=$((passed + ok))
	failed=$((failed + bad))
done
if [ -n "${T_COUNTS:-}" ]; then echo "$passed $failed" >>"$T_COUNTS"; fi
if [ -n "${T_COUNTS:-}" ]; then echo "# these: $passed ok, $failed not ok"; else echo "$passed passed, $failed failed"; fi
[ "$failed" -eq 0 ]
