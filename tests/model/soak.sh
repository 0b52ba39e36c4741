#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make soak SEEDS=50: the model workload with many seeds, on a target in replicate mode and on an ordinary one.
# SEEDS: a number, or a list as 7,8,9. SECONDS_EACH: of a seed (60). STACK: number of the stack to use (7).
set -eu
cd "$(dirname "$0")/../.."
export STACK=${STACK:-7}
program=$PWD/build/release/milvus-cdc
work=$(mktemp -d)
trap 'tests/stack/stack.sh wipe >/dev/null 2>&1' EXIT
for door in false true; do
	tests/stack/stack.sh wipe
	TARGET_TT=$door tests/stack/stack.sh up
	eval "$(tests/stack/stack.sh env)"
	echo "mode $([ $door = true ] && echo upsert || echo replicate), files in $work/$door"
	plain=$([ $door = true ] && echo --plain || true)
	PROGRAM=$program "$PY" tests/model/soak.py "$work/$door" --seeds "${SEEDS:-3}" \
		--seconds "${SECONDS_EACH:-60}" $plain
done
rm -rf "$work"
