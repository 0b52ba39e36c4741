#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make chaos MINUTES=N: every fault on real servers, through both doors, and docs/reliability.md made from what came of
# it. N: of random faults, in all; the other parts take as long as they take (about an hour). SEED: of the choices.
# The two doors are tried side by side, each on a stack of its own (STACK, 9, and the next), since most of it is
# waiting; the stacks are removed first and afterwards. Needs root, for the network namespaces.
set -u
cd "$(dirname "$0")/../.."
export STACK=${STACK:-9}
minutes=${MINUTES:-20}
seed=${SEED:-$(date +%y%m%d)}
work=${CHAOS_DIR:-$(mktemp -d)}
mkdir -p "$work"
results=$work/results.jsonl

door() { # TARGET_TT of its target
	local failed=0
	export TARGET_TT=$1
	tests/stack/stack.sh wipe
	tests/stack/stack.sh up || return 1
	eval "$(tests/stack/stack.sh env)"
	for part in random points outages refusals network backlog; do
		"$PY" tests/crash/chaos.py "$work" --part $part --seed "$seed" --kills 120 \
			--minutes "$(awk "BEGIN { print $minutes / 2 }")" --results "$results" || failed=1
	done
	tests/stack/stack.sh wipe
	return $failed
}

tests/stack/deps.sh all && make -s -j"$(nproc)" VARIANT=test all || exit 1
set -o pipefail
door false 2>&1 | sed -u 's/^/replicate: /' &
replicate=$!
STACK=$((STACK + 1)) door true 2>&1 | sed -u 's/^/upsert:    /' &
upsert=$!
failed=0
wait $replicate || failed=1
wait $upsert || failed=1
eval "$(tests/stack/stack.sh env)"
"$PY" tests/crash/chaos.py --report docs/reliability.md "$results"
[ $failed = 0 ] || echo "something differed or was too slow; its files are in $work" >&2
exit $failed
