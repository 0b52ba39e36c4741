#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make demo: a real source Milvus is replicated into a real target Milvus, with a pause and a SIGKILL in
# the middle, and both sides are compared row by row. Exit status 0 only if they are equal.
#
#   demo.sh         ends what it started and removes it; KEEP=1 leaves all of it running
#   demo.sh stop    ends what KEEP=1 left running and removes it
#
# ROWS (25000), SECONDS_OF_LOAD (15) and STACK (0, see stack.sh) come from the environment. The folder
# `demo` in a stack's run folder tells a stack of ours: only such a stack is ever used again or removed.
set -eu
cd "$(dirname "$0")/.."
. tests/lib.sh
ROWS=${ROWS:-25000}
limit=$((300 + ROWS / 100))
started=$(date +%s)
eval "$(tests/stack/stack.sh env)"
work=$RUN_DIR/demo
me="${STACK:+STACK=$STACK }tests/demo.sh"
workload=0

# The pid of this demo's milvus-cdc, also of one that an earlier run left.
cdc_pid() {
	local pid
	pid=$(cat "$work/cdc.pid" 2>/dev/null) || return 1
	tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$work/cdc.yaml" && echo "$pid"
}
cdc_end() {
	CDC_PID=$(cdc_pid) || return 0
	kill "$CDC_PID" 2>/dev/null || true
	until_true 10 cdc_gone || kill -KILL "$CDC_PID"
}
kill_stack() {
	for part in source target kafka source-etcd target-etcd; do tests/stack/stack.sh kill $part; done
}
left_running() {
	cat <<-TEXT

		Left running:
		  milvus-cdc  http://$CDC_ADDRESS/cdc  (pid $(cdc_pid || echo none), log $work/cdc.log)
		  metrics     http://$CDC_ADDRESS/metrics
		  source      $SOURCE_URI
		  target      $TARGET_URI
		  journal     $work/data/tasks/*/journal; to look: sqlite3 -readonly FILE 'select * from log'
		  stop all    $me stop
	TEXT
}
cleanup() {
	status=$?
	trap '' INT TERM HUP
	[ "$workload" -eq 0 ] || kill "$workload" 2>/dev/null || true
	[ "${KEEP:-0}" = 0 ] || { left_running && exit $status; }
	case $status in
	0 | 129 | 130 | 143)
		cdc_end
		tests/stack/stack.sh wipe
		;;
	*)
		cdc_end
		kill_stack
		echo "demo: FAILED; the logs are $work/*.log and $RUN_DIR/*/log" >&2
		;;
	esac
	exit $status
}

mkdir -p "$(dirname "$RUN_DIR")"
exec 8>"$RUN_DIR.demo-lock" # what outlives us must not inherit it: 8>&-
flock -n 8 || die "another demo is running on stack ${STACK:-0}; choose another one: STACK=1 make demo"
[ ! -d "$RUN_DIR" ] || [ -d "$work" ] ||
	die "$RUN_DIR is a stack that no demo made; choose another one: STACK=1 make demo"
case ${1-} in
'') ;;
stop)
	cdc_end
	tests/stack/stack.sh wipe
	echo "demo: stopped and removed"
	exit
	;;
*)
	echo "usage: demo.sh [stop]" >&2
	exit 64
	;;
esac
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say "1. A real stack on loopback: two etcd, Kafka, a source Milvus and a target Milvus"
tests/stack/parts.sh
if [ -d "$work" ] && ! tests/stack/stack.sh status >/dev/null; then # of a run that was killed
	cdc_end
	tests/stack/stack.sh wipe
fi
mkdir -p "$work"
tests/stack/stack.sh up 8>&-
echo "  source $SOURCE_URI (etcd $SOURCE_ETCD, Kafka $KAFKA)"
echo "  target $TARGET_URI"

say "2. milvus-cdc, and a task made with curl"
ask() { # REQUEST: shown as a user would type it; the answer in $answer
	echo "  curl -X POST http://$CDC_ADDRESS/cdc -d '$1'"
	answer=$(api "$1")
	echo "  $answer"
	[ "$(jq -r .code <<<"$answer")" = 200 ] || die "milvus-cdc refused"
}
of_task() { echo '{"request_type":"'"$1"'","request_data":{"task_id":"'"$task"'"}}'; }
cdc_config "$work"
CDC_PID=$(cdc_pid) || cdc_start "$work" 8>&-
task=$(api '{"request_type":"list"}' | jq -r '.data.tasks[0].task_id // empty')
if [ -z "$task" ]; then
	ask "$(jq -nc --arg uri "$TARGET_URI" '{request_type: "create", request_data: {
		milvus_connect_param: {uri: $uri, token: "root:Milvus", connect_timeout: 10},
		collection_infos: [{name: "*"}]}}')"
	task=$(jq -r .data.task_id <<<"$answer")
else
	echo "  task $task of an earlier run goes on"
	[ "$(api "$(of_task get)" | jq -r .data.task.state)" = Running ] || ask "$(of_task resume)"
fi

get() { api "$(of_task get)" 2>/dev/null; }
progress() { # a line, if something has moved since the last one
	local state captured journaled applied lag health
	read -r state captured journaled applied lag health < <(get | jq -r '.data.task | "\(.state) " +
		"\(.progress | "\(.captured) \(.journaled) \(.applied) \(.lag_ms)") \(.health.status)"') || return 0
	[ "$state $captured $applied $health" != "${last:-}" ] || return 0
	last="$state $captured $applied $health"
	printf '  %-8s captured %7s  journaled %7s  applied %7s  lag %5s ms  health %s\n' \
		"$state" "$captured" "$journaled" "$applied" "$lag" "$health"
}
captured() { [ "$(get | jq -r '.data.task.progress.captured // 0')" -ge "$1" ] 2>/dev/null; }
work_over() { ! kill -0 "$workload" 2>/dev/null; }
seen=0
follow() { # what the workload did since, and where we are, once a second
	local line
	while IFS= read -r line; do
		echo "    source: $line"
		seen=$((seen + 1))
	done < <(tail -n "+$((seen + 1))" "$work/workload.log")
	[ "$(date +%s)" = "${shown:-}" ] || { shown=$(date +%s) && progress; }
}
tick() { # COMMAND...: true at the latest when the workload is over
	follow
	! cdc_gone || die "milvus-cdc has ended: $(tail -n 3 "$work/cdc.log")"
	"$@" || work_over
}

say "3. A workload on the source: databases, collections of all kinds, $ROWS rows at its end"
base=$(get | jq -r '.data.task.progress.captured // 0')
: >"$work/workload.log"
"$PY" tests/e2e/lib/workload.py --uri "$SOURCE_URI" --rows "$ROWS" --seconds "${SECONDS_OF_LOAD:-15}" \
	>>"$work/workload.log" 2>&1 &
workload=$!
until_true $limit tick captured $((base + ROWS / 3)) || die "nothing arrives: $(tail -n 3 "$work/cdc.log")"

say "4. Pause and resume: capture goes on, applying waits"
ask "$(of_task pause)"
until_true $limit tick captured $((base + ROWS / 2)) || die "capture stopped"
ask "$(of_task resume)"
until_true $limit tick captured $((base + ROWS * 2 / 3)) || die "capture stopped"

say "5. SIGKILL, and started again"
cdc_kill KILL
cdc_start "$work" 8>&-
until_true $limit tick false || die "the workload does not end"
follow
wait "$workload" || { workload=0 && die "the workload failed"; }
workload=0

say "6. Both sides, row by row"
"$PY" tests/e2e/lib/compare.py --source "$SOURCE_URI" --target "$TARGET_URI" --target-eventually \
	--timeout 60 | sed 's/^/  /' && [ "${PIPESTATUS[0]}" -eq 0 ] || die "source and target differ"
progress
printf '\ndemo: ok, %d s\n' $(($(date +%s) - started))
