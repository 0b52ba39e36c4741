# SPDX-License-Identifier: Apache-2.0
# Shell helpers of demo, checks and benchmarks: the daemon on a real stack, its API, waiting for events.
# Source it; needs the variables of `stack.sh env`.

: "${PROGRAM:=build/release/milvus-cdc}"

say() { # bold on a terminal
	if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi
}
die() {
	echo "$*" >&2
	exit 1
}

# until SECONDS COMMAND...: polls until the command succeeds; fails at the deadline.
until_true() {
	local deadline=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$deadline" ] || return 1
		read -rt 0.1 <> <(:) || true
	done
}

api() { curl -sS --max-time 20 -X POST "http://$CDC_ADDRESS/cdc" -d "$1"; }

# cdc_config FOLDER: a configuration for the stack, data below FOLDER.
cdc_config() {
	mkdir -p "$1"
	cat >"$1/cdc.yaml" <<-YAML
		address: $CDC_ADDRESS
		dataDir: $1/data
		logLevel: info
		sourceConfig:
		  etcd:
		    address: ["$SOURCE_ETCD"]
		    rootPath: $SOURCE_ROOT
		    metaSubPath: meta
		  kafka:
		    address: $KAFKA
		  replicateChan: $SOURCE_ROOT-replicate-msg
	YAML
}

cdc_healthy() { curl -sS -o /dev/null --max-time 2 "http://$CDC_ADDRESS/healthz" 2>/dev/null; }

# cdc_start FOLDER: in the background, log to FOLDER/cdc.log, pid in CDC_PID.
cdc_start() {
	setsid "$PROGRAM" --config "$1/cdc.yaml" >>"$1/cdc.log" 2>&1 </dev/null &
	CDC_PID=$!
	echo "$CDC_PID" >"$1/cdc.pid"
	until_true 20 cdc_healthy || {
		tail -n 20 "$1/cdc.log" >&2
		die "milvus-cdc did not come up; its log: $1/cdc.log"
	}
}

cdc_gone() { ! kill -0 "$CDC_PID" 2>/dev/null; }
cdc_kill() { # SIGNAL
	kill "-$1" "$CDC_PID" 2>/dev/null || true
	until_true 10 cdc_gone || die "milvus-cdc does not end"
	wait "$CDC_PID" 2>/dev/null || true # it tells how it died
}
