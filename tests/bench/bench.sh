#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make bench: the figures of README.md, on a real stack of its own; each is printed beside what is wanted.
set -eu
cd "$(dirname "$0")/../.."
export STACK=${STACK:-7}
tests/stack/parts.sh
tests/stack/stack.sh up
eval "$(tests/stack/stack.sh env)"
. tests/lib.sh
work=$RUN_DIR/bench
cleanup() {
	[ -z "${CDC_PID:-}" ] || kill "$CDC_PID" 2>/dev/null || true
	tests/stack/stack.sh wipe
}
trap cleanup EXIT
cdc_config "$work"
cdc_start "$work"
api '{"request_type":"create","request_data":{"milvus_connect_param":{"uri":"'"$TARGET_URI"'","connect_timeout":10},
	"collection_infos":[{"name":"*"}]}}' | jq -e '.data.task_id' >/dev/null || die "no task was made"
"$PY" tests/bench/bench.py --source "$SOURCE_URI" --target "$TARGET_URI" --pid "$CDC_PID" "$@"
for b in build/release/tests/bench/*; do
	case $b in *.o | *.d) continue ;; esac
	echo "--- ${b##*/}"
	"$b"
done
