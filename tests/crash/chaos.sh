#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make chaos MINUTES=N: every fault on real servers, through both doors, and docs/reliability.md made from what came of
# it. N: of random faults, in all; the other parts take as long as they take (about an hour). SEED: of the choices.
# Takes a stack of its own (STACK, 9), which is removed first and afterwards. Needs root, for the network namespace.
set -u
cd "$(dirname "$0")/../.."
export STACK=${STACK:-9}
minutes=${MINUTES:-20}
seed=${SEED:-$(date +%y%m%d)}
work=${CHAOS_DIR:-$(mktemp -d)}
mkdir -p "$work"
results=$work/results.jsonl
failed=0

tests/stack/deps.sh all && make -s -j"$(nproc)" VARIANT=test all || exit 1
for plain in false true; do
	tests/stack/stack.sh wipe
	TARGET_TT=$plain tests/stack/stack.sh up || exit 1
	eval "$(tests/stack/stack.sh env)"
	export SOURCE_ETCD TARGET_ETCD KAFKA SOURCE_URI TARGET_URI SOURCE_ROOT PY CDC_ADDRESS RUN_DIR
	for part in random points outages refusals network backlog; do
		TARGET_TT=$plain "$PY" tests/crash/chaos.py "$work" --part $part --seed "$seed" --kills 120 \
			--minutes "$(awk "BEGIN { print $minutes / 2 }")" --results "$results" || failed=1
	done
done
tests/stack/stack.sh wipe
"$PY" tests/crash/chaos.py --report docs/reliability.md "$results"
[ $failed = 0 ] || echo "something differed or was too slow; its files are in $work" >&2
exit $failed
