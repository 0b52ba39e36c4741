#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs a real source and a real target on this machine: two etcd, one Kafka, two Milvus.
#
#   stack.sh up                 start what is not running, wait until all of it answers
#   stack.sh down               stop everything, keep the data
#   stack.sh wipe               kill everything, remove the data
#   stack.sh status             one line per part; exit status 0 if all of them are well
#   stack.sh env                addresses as exported shell variables, for eval
#   stack.sh start|stop|kill|freeze|thaw PART
#                               stop = TERM, kill = KILL, freeze = STOP, thaw = CONT
#
# PART is source-etcd, target-etcd, kafka, source or target. The processes outlive the calling
# shell. Settings, all from the environment:
#
#   STACK            number of the stack (0): its ports are 21000 + 100 * STACK and following
#   CDC_STACK_DIR    folder of the run folders (in TMPDIR: milvus-cdc-stack, not root: ...-stack-UID)
#   CDC_PARTS        cache folder, see parts.sh
#   TARGET_TT        false: the target takes replicated messages; true: an ordinary Milvus (false)
#   SOURCE_CHANNELS  number of physical channels of the source (4)
#   TARGET_CHANNELS  number of physical channels of the target (4)
#   TARGET_AUTH, SOURCE_AUTH
#                    true: that Milvus wants a user; there is root with the password Milvus (false)
#   TARGET_PASSWORD, SOURCE_PASSWORD
#                    root's password, for the look at its health when a test has changed it (Milvus)
#   KAFKA_VIA        address by which Kafka's clients reach it in another way: one more listener, for what
#                    carries connections on from there (none)
#   SECURE_DIR, TARGET_TLS, ETCD_TLS, KAFKA_SECURE
#                    certificates and more listeners, see secure.sh
#
# `up` re-uses what runs under that number: whoever wants a stack alone takes a number (or a
# CDC_STACK_DIR and a number) of which `status` says that all of it is stopped.
#
# A Milvus that was restarted answers before its collections are loaded again, and until they are
# flushed and it is started once more it may show less than all of the rows not flushed before.
#
# What a server was started with is remembered in the run folder: a later `start target` need not
# repeat it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
stack=${STACK:-0}
if ! [[ $stack =~ ^(0|[1-9][0-9]?)$ ]]; then
	echo "stack.sh: STACK is '$stack', must be a number from 0 to 99" >&2
	exit 64
fi
root=${CDC_STACK_DIR:-${TMPDIR:-/tmp}/milvus-cdc-stack$([ "$UID" = 0 ] || echo "-$UID")}
run=$root/$stack
parts=$("$here/parts.sh" path)
all="source-etcd target-etcd kafka source target"

host=127.0.0.1
base=$((21000 + 100 * stack))
declare -A port=(
	[cdc]=$base
	[source-etcd]=$((base + 1)) [source-etcd-peer]=$((base + 2))
	[target-etcd]=$((base + 3)) [target-etcd-peer]=$((base + 4))
	[kafka]=$((base + 5)) [kafka-controller]=$((base + 6))
	[kafka-via]=$((base + 45))
	[source]=$((base + 10)) # +1 metrics and health, +2 ... +9 internal, see milvus_settings
	[target]=$((base + 30))
)

die()
{
	echo "stack.sh: $*" >&2
	exit 1
}

. "$here/secure.sh"

# --- processes -----------------------------------------------------------------------------------

# The pid file holds pid and start time, so that a pid used again is never taken for ours.
started_at() # PID
{
	local stat

	{ stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
	set -- ${stat##*) } # fields from the third, the state, on
	[ "$1" != Z ] || return 1
	echo "${20}"
}

pid_of() # PART: prints the pid if it runs
{
	local pid since

	{ read -r pid since <"$run/$1/pid"; } 2>/dev/null || return 1
	[ "$(started_at "$pid")" = "$since" ] || return 1
	echo "$pid"
}

launch() # PART COMMAND...
{
	local part=$1 pid

	shift
	# a process that was just killed can look ended a moment before its sockets are closed
	if ! wait_for 5 port_free "$part"; then
		die "$part: port ${port[$part]} is in use; choose another STACK"
	fi
	cd "$run/$part"
	setsid "$@" </dev/null >>log 2>&1 9>&- &
	pid=$!
	echo "$pid $(started_at $pid)" >pid
	cd / # the run folder may be removed
}

send() # SIGNAL PART
{
	local pid

	pid=$(pid_of "$2") || die "$2 is not running"
	kill "-$1" "$pid"
}

# The only place that waits: polls until the check holds or the deadline passes.
wait_for() # SECONDS CHECK...
{
	local until=$((SECONDS + $1))

	shift
	until "$@"; do
		[ $SECONDS -lt $until ] || return 1
		sleep 0.1
	done
}

port_free() { ! (exec 3<>"/dev/tcp/$host/${port[$1]}") 2>/dev/null; }
gone() { ! pid_of "$1" >/dev/null; }
healthy_or_gone() { healthy "$1" || gone "$1"; }

get() # PORT/PATH [CURL-OPTION...]
{
	local path=$1

	shift
	curl -fsS --noproxy '*' -m 3 "$@" "$host:$path" 2>/dev/null
}

healthy() # PART
{
	case $1 in
	*-etcd) [[ $(get "${port[$1]}/health") == *'"health":"true"'* ]] ;;
	kafka) [[ $(kcat -b "$host:${port[kafka]}" -L -m 2 2>/dev/null) == *' 1 brokers:'* ]] ;;
	# the health page first; then a real call through proxy and root coordinator
	source | target)
		[ "$(get $((port[$1] + 1))/healthz)" = OK ] &&
			[[ $(collections_of "$1") == '{"code":200,'* ]]
		;;
	esac
}

ready() # PART: waits until it answers
{
	local log=$run/$1/log

	# one look decides: a server that is just starting may answer and then not
	if ! wait_for 90 healthy_or_gone "$1"; then
		echo "stack.sh: $1 does not answer after 90 s; the end of $log:" >&2
	elif gone "$1"; then
		echo "stack.sh: $1 ended while starting; the end of $log:" >&2
	else
		return 0
	fi
	tail -n 25 "$log" | cut -c 1-400 >&2
	return 1
}

# --- parts ---------------------------------------------------------------------------------------

setting() # NAME DEFAULT: the environment's value, else the remembered one, else the default
{
	local file=$run/$1

	if [ -n "${!1-}" ]; then
		echo "${!1}" >"$file"
	elif [ ! -e "$file" ]; then
		echo "$2" >"$file"
	fi
	cat "$file"
}

start_etcd() # PART
{
	local client=http://$host:${port[$1]} peer=http://$host:${port[$1-peer]}
	local etcd_options=(--listen-client-urls "$client" --advertise-client-urls "$client")

	[ "$1-$(etcd_tls)" = source-etcd-0 ] || [ "$1" = target-etcd ] || etcd_tls_options "$client"
	launch "$1" etcd --name "$1" --data-dir "$run/$1/data" "${etcd_options[@]}" \
		--listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
		--initial-cluster "$1=$peer"
}

start_kafka()
{
	local dir=$run/kafka via
	local java=(java -Xms128m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
		-Dorg.slf4j.simpleLogger.showDateTime=true
		-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS
		-cp "$parts/kafka-3.9.1/lib/*")

	cat >"$dir/server.properties" <<-EOF
	process.roles=broker,controller
	node.id=1
	controller.quorum.voters=1@$host:${port[kafka-controller]}
	listeners=PLAINTEXT://$host:${port[kafka]},CONTROLLER://$host:${port[kafka-controller]}
	advertised.listeners=PLAINTEXT://$host:${port[kafka]}
	controller.listener.names=CONTROLLER
	inter.broker.listener.name=PLAINTEXT
	log.dirs=$dir/data
	# Milvus creates its topics by using them; they have one partition
	auto.create.topics.enable=true
	num.partitions=1
	message.max.bytes=10485760
	replica.fetch.max.bytes=10485760
	offsets.topic.num.partitions=1
	offsets.topic.replication.factor=1
	transaction.state.log.replication.factor=1
	transaction.state.log.min.isr=1
	group.initial.rebalance.delay.ms=0
	# nothing is removed unless a test asks for it; a small cleaner for a small heap
	log.retention.ms=-1
	log.cleaner.dedupe.buffer.size=4194304
	EOF
	via=$(setting KAFKA_VIA "")
	if [ -n "$via" ]; then
		sed -i -e "s/^listeners=.*/&,VIA:\/\/$host:${port[kafka-via]}/" \
			-e "s/^advertised.listeners=.*/&,VIA:\/\/$via:${port[kafka-via]}/" "$dir/server.properties"
		echo listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,VIA:PLAINTEXT \
			>>"$dir/server.properties"
	fi
	if [ "$(setting KAFKA_SECURE false)" = true ]; then
		kafka_secure_properties | sed -i -e '/^\(advertised\.\)\?listeners=/d' -e '$r /dev/stdin' \
			"$dir/server.properties"
	fi
	if [ ! -e "$dir/data/meta.properties" ]; then
		"${java[@]}" kafka.tools.StorageTool format -t bWlsdnVzLWNkYy1zdGFjaw \
			-c "$dir/server.properties" >>"$dir/log" 2>&1 ||
			die "kafka: cannot format $dir/data, see $dir/log"
	fi
	launch kafka "${java[@]}" kafka.Kafka "$dir/server.properties"
}

milvus_settings() # PART: path=value lines, put into the server's own template
{
	local dir=$run/$1 at=${port[$1]}

	cat <<-EOF
	etcd.endpoints=$host:$(etcd_port_of "$1")
	etcd.use.embed=false
	etcd.data.dir=$dir/etcd-unused
	localStorage.path=$dir/data
	rocksmq.path=$dir/rocksmq
	rocksmq.retentionTimeInMinutes=525600
	rocksmq.retentionSizeInMB=1048576
	natsmq.server.storeDir=$dir/nats-unused
	natsmq.server.monitor.logFile=$dir/nats-unused.log
	log.file.rootPath=
	common.gracefulStopTimeout=5
	proxy.port=$at
	proxy.internalPort=$((at + 2))
	rootCoord.port=$((at + 3))
	queryCoord.port=$((at + 4))
	queryNode.port=$((at + 5))
	indexNode.port=$((at + 6))
	dataCoord.port=$((at + 7))
	dataNode.port=$((at + 8))
	indexCoord.bindIndexNodeMode.address=$host:$((at + 9))
	proxy.ip=$host
	rootCoord.ip=$host
	queryCoord.ip=$host
	queryNode.ip=$host
	indexNode.ip=$host
	dataCoord.ip=$host
	dataNode.ip=$host
	EOF
	milvus_secure_settings "$1"
	if [ "$1" = source ]; then
		cat <<-EOF
		mq.type=kafka
		common.ttMsgEnabled=true
		rootCoord.dmlChannelNum=$(setting SOURCE_CHANNELS 4)
		EOF
	else
		cat <<-EOF
		mq.type=rocksmq
		common.ttMsgEnabled=$(setting TARGET_TT false)
		rootCoord.dmlChannelNum=$(setting TARGET_CHANNELS 4)
		EOF
	fi
}

start_milvus() # PART
{
	local dir=$run/$1 from=$parts/milvus-2.3.5

	# the server insists on one of these two; another user's run may have left them
	{ mkdir -p /run/milvus && [ -w /run/milvus ]; } 2>/dev/null ||
		{ mkdir -p /tmp/milvus && [ -w /tmp/milvus ]; } 2>/dev/null ||
		die "$1: can write neither to /run/milvus nor to /tmp/milvus; remove /tmp/milvus or run as root"
	mkdir -p "$dir/config" "$dir/logs"
	cp "$from/glog.conf" "$dir/config/"
	# Placeholders get their defaults, our settings replace lines; one that fits no line is an error.
	milvus_settings "$1" | awk '
		NR == FNR { eq = index($0, "="); set[substr($0, 1, eq - 1)] = substr($0, eq + 1); next }
		match($0, /^ *[A-Za-z]+:/) {
			match($0, /[^ ]/); depth = (RSTART - 1) / 2
			key = $1; sub(/:.*/, "", key)
			path[depth] = depth ? path[depth - 1] "." key : key
			if (path[depth] in set) {
				printf "%*s%s: %s\n", 2 * depth, "", key, set[path[depth]]
				delete set[path[depth]]
				next
			}
		}
		{
			while (match($0, /\{\{[^}]*\}\}/)) {
				value = substr($0, RSTART + 2, RLENGTH - 4)
				if (!sub(/^[^:]*: */, "", value)) value = ""
				sub(/ *$/, "", value)
				$0 = substr($0, 1, RSTART - 1) value substr($0, RSTART + RLENGTH)
			}
			print
		}
		END { for (left in set) { print "no such setting: " left >"/dev/stderr"; exit 1 } }
	' - "$from/config.yaml.template" >"$dir/config/milvus.yaml" ||
		die "$1: cannot write its configuration"
	if [ "$1" = source ]; then
		cat >>"$dir/config/milvus.yaml" <<-EOF

		kafka:
		  brokerList: $host:${port[kafka]}
		  saslUsername:
		  saslPassword:
		  saslMechanisms:
		  securityProtocol:
		  readTimeout: 10
		EOF
	fi
	# A clean environment: Milvus takes any variable for a setting.
	launch "$1" env -i PATH="$PATH" HOME="$dir" LD_LIBRARY_PATH="$from/bin" \
		$(http_port_of "$1") \
		MILVUSCONF="$dir/config/" METRICS_PORT=$((port[$1] + 1)) DEPLOY_MODE=STANDALONE \
		"$from/bin/milvus" run standalone -alias "cdc-$stack-$1"
}

start() # PART: starts it unless it runs, does not wait
{
	if ! gone "$1"; then
		send CONT "$1"
		return 0
	fi
	mkdir -p "$run/$1"
	case $1 in
	*-etcd) start_etcd "$1" ;;
	kafka) start_kafka ;;
	source | target) start_milvus "$1" ;;
	esac
}

stop() # PART...: asks all, waits, insists
{
	local part pid

	for part; do
		pid=$(pid_of "$part") || continue
		kill -TERM "$pid"
		kill -CONT "$pid" 2>/dev/null || true # it may have ended at once
	done
	for part; do
		if ! wait_for 30 gone "$part"; then
			echo "stack.sh: $part did not stop within 30 s, killed" >&2
			send KILL "$part"
			wait_for 10 gone "$part" || die "$part cannot be killed"
		fi
	done
}

kill_parts() # PART...
{
	local part

	for part; do gone "$part" || send KILL "$part"; done
	for part; do wait_for 10 gone "$part" || die "$part cannot be killed"; done
}

# --- commands ------------------------------------------------------------------------------------

up()
{
	local name part source_job

	for name in TARGET_TT TARGET_CHANNELS TARGET_AUTH SOURCE_CHANNELS SOURCE_AUTH; do
		part=${name%%_*}
		part=${part,,}
		if ! gone "$part" && [ "$(cat "$run/$name")" != "${!name:-$(cat "$run/$name")}" ]; then
			die "the $part runs with $name=$(cat "$run/$name"); stop it first"
		fi
	done
	"$here/parts.sh"
	start source-etcd
	start target-etcd
	(start kafka && ready kafka && ready source-etcd && start source && ready source) &
	source_job=$!
	trap 'kill '$source_job' 2>/dev/null || true' EXIT # interrupted: nothing more is started
	name=
	(ready target-etcd && start target && ready target) || name=target
	wait $source_job || name+=" source"
	trap - EXIT
	[ -z "$name" ] || die "not up:" $name
}

status()
{
	local part pid state rc=0

	for part in $all; do
		if ! pid=$(pid_of "$part"); then
			state=stopped pid=-
		elif grep -q '^State:[[:space:]]T' "/proc/$pid/status"; then
			state=frozen
		elif healthy "$part"; then
			state=well
		else
			state=unwell
		fi
		[ $state = well ] || rc=1
		printf '%-12s %-8s pid %-8s port %-6s %s\n' "$part" $state "$pid" "${port[$part]}" \
			"$run/$part/log"
	done
	return $rc
}

print_env()
{
	printf 'export %s=%q\n' \
		SOURCE_ETCD "$host:${port[source-etcd]}" \
		TARGET_ETCD "$host:${port[target-etcd]}" \
		KAFKA "$host:${port[kafka]}" \
		SOURCE_URI "http://$host:${port[source]}" \
		TARGET_URI "http://$host:${port[target]}" \
		SOURCE_ROOT by-dev \
		CDC_ADDRESS "$host:${port[cdc]}" \
		PY "$parts/pymilvus-2.3.7/bin/python" \
		RUN_DIR "$run"
}

usage()
{
	sed -n '6,13s/^# *//p' "${BASH_SOURCE[0]}" >&2
	exit 64
}

command=${1-}
case $command in
up | down | wipe | status | env) [ $# = 1 ] || usage ;;
start | stop | kill | freeze | thaw)
	[ $# = 2 ] && [[ " $all " == *" $2 "* ]] || usage
	part=$2
	;;
*) usage ;;
esac

# What starts and ends processes waits for its turn; the others must work in between.
case $command in
up | down | wipe | start | stop)
	mkdir -p "$root"
	exec 9>"$root/$stack.lock"
	flock 9
	;;
esac

case $command in
up) mkdir -p "$run" && up ;;
down) stop source target && stop kafka source-etcd target-etcd ;;
wipe) kill_parts $all && rm -rf "$run" ;;
status) status ;;
env) print_env ;;
start) mkdir -p "$run" && "$here/parts.sh" && start "$part" && ready "$part" ;;
stop) stop "$part" ;;
kill) kill_parts "$part" ;;
freeze) send STOP "$part" ;;
thaw) send CONT "$part" ;;
esac
