#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make demo: a real source Milvus is replicated into a real target Milvus, with a pause and a SIGKILL in
# the middle, and both sides are compared row by row. KEEP=1 leaves everything running.
set -eu
cd "$(dirname "$0")/.."
ROWS=${ROWS:-25000}
started=$(date +%s)

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
say "1. A real stack on loopback: two etcd, Kafka, a source Milvus and a target Milvus"
tests/stack/parts.sh
tests/stack/stack.sh up
eval "$(tests/stack/stack.sh env)"
. tests/lib.sh
work=$RUN_DIR/demo
workload=0
cleanup() {
	status=$?
	[ "$workload" -eq 0 ] || kill "$workload" 2>/dev/null || true
	if [ "${KEEP:-0}" = 1 ]; then
		cat <<-TEXT

			Left running:
			  milvus-cdc  http://$CDC_ADDRESS/cdc   (pid $(cat "$work/cdc.pid"), log $work/cdc.log)
			  source      $SOURCE_URI      target  $TARGET_URI
			  journal     ls $work/data/tasks/*/journal; sqlite3 -readonly FILE 'select * from log'
			  stop        kill $(cat "$work/cdc.pid"); tests/stack/stack.sh down
		TEXT
	else
		[ -z "${CDC_PID:-}" ] || kill "$CDC_PID" 2>/dev/null || true
		tests/stack/stack.sh down
	fi
	exit $status
}
trap cleanup EXIT

say "2. milvus-cdc, and a task made with curl"
cdc_config "$work"
if cdc_healthy; then
	CDC_PID=$(cat "$work/cdc.pid")
else
	cdc_start "$work"
fi
task=$(api '{"request_type":"list"}' | jq -r '.data.tasks[0].task_id // empty')
if [ -z "$task" ]; then
	request=$(jq -n --arg uri "$TARGET_URI" '{request_type: "create", request_data: {
		milvus_connect_param: {uri: $uri, token: "root:Milvus", connect_timeout: 10},
		collection_infos: [{name: "*"}]}}')
	echo "curl -X POST http://$CDC_ADDRESS/cdc -d '$(jq -c . <<<"$request")'"
	answer=$(api "$request")
	echo "$answer"
	task=$(jq -r '.data.task_id // empty' <<<"$answer")
	[ -n "$task" ] || die "no task was made"
else
	echo "task $task of an earlier run goes on"
	api '{"request_type":"resume","request_data":{"task_id":"'"$task"'"}}'
fi

say "3. A workload on the source: databases, collections of all kinds, $ROWS rows at its end"
"$PY" tests/e2e/lib/workload.py --uri "$SOURCE_URI" --rows "$ROWS" --seconds "${SECONDS_OF_LOAD:-20}" >"$work/workload.log" 2>&1 &
workload=$!

state() { api '{"request_type":"get","request_data":{"task_id":"'"$task"'"}}'; }
progress() {
	state 2>/dev/null | jq -r '.data.task | "   \(.state)  captured \(.progress.captured)  journaled " +
		"\(.progress.journaled)  applied \(.progress.applied)  lag \(.progress.lag_ms) ms  health \(.health.status)"' || true
}
captured() { [ "$(state 2>/dev/null | jq -r '.data.task.progress.captured // 0')" -ge "$1" ] 2>/dev/null; }
work_over() { ! kill -0 "$workload" 2>/dev/null; }
base=$(state | jq -r '.data.task.progress.captured // 0')
tick() { # shows progress while waiting
	[ "$(date +%s)" = "${shown:-}" ] || { shown=$(date +%s); progress; }
	"$@" || work_over
}
shown=
until_true 300 tick captured $((base + ROWS / 3)) || die "nothing arrives: $(tail -n 3 "$work/cdc.log")"
say "4. Pause and resume: capture goes on, applying waits"
api '{"request_type":"pause","request_data":{"task_id":"'"$task"'"}}'
echo
until_true 300 tick captured $((base + ROWS / 2)) || die "capture stopped"
api '{"request_type":"resume","request_data":{"task_id":"'"$task"'"}}'
echo
until_true 300 tick captured $((base + ROWS * 2 / 3)) || die "capture stopped"
say "5. SIGKILL, and started again"
cdc_kill KILL
cdc_start "$work"
until_true 300 tick false || die "the workload does not end"
wait "$workload" || {
	tail -n 5 "$work/workload.log"
	die "the workload failed"
}
workload=0
tail -n 1 "$work/workload.log"
progress

say "6. Both sides, row by row"
"$PY" tests/e2e/lib/compare.py --source "$SOURCE_URI" --target "$TARGET_URI" --target-eventually --timeout 60
progress
echo "demo: $(($(date +%s) - started)) s"
