/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes to other machines: unary gRPC over libcurl (HTTP/2), and etcd's KV service on top of it.
 * A handle is one connection, used by one thread at a time; it reconnects by itself.
 */
#ifndef CDC_WIRE_H
#define CDC_WIRE_H

#include <cdc/conf.h>
#include <cdc/err.h>
#include <cdc/mem.h>

#include <stdbool.h>
#include <stdint.h>

/* Once per process, before any thread. SIGPIPE is ignored from then on. */
void wire_init(void);

struct grpc;
struct grpc_conf {
	const char *host;
	int port;
	struct conf_tls tls;
	int connect_timeout_ms;
	/* Extra metadata, e.g. "authorization: <base64>"; NULL: none. Secret: never in an error. */
	const char *metadata;
	/* ERR_* for: cannot connect or timed out; credentials refused; not HTTP/2 gRPC at all. */
	int lost, auth, foreign;
	/* Called about every 200 ms while a call is in progress (R33): true ends the call early. */
	bool (*poll)(void *arg);
	void *poll_arg;
};
/* No I/O. Strings are copied. */
struct grpc *grpc_new(const struct grpc_conf *conf);
void grpc_free(struct grpc *g);
/* Replaces conf.metadata from the next call on, on the same connection. NULL: none. Copied. */
void grpc_set_metadata(struct grpc *g, const char *metadata);
DEFINE_AUTO(struct grpc, grpc_free)

#define GRPC_MAX_REPLY ((size_t)256 << 20)

/*
 * One unary call. method: "/package.Service/Method". req: the serialized message, unframed;
 * borrowed, not copied. reply: reset, then the serialized answer. Blocks at most deadline_ms.
 * 0: grpc-status 0 and a complete answer. On failure *err has address, method and reason, and
 * *status (may be NULL) the grpc-status, or -1 when there was none (then the call may or may not
 * have been executed). Codes: conf.lost (no connection, timeout, UNAVAILABLE, DEADLINE_EXCEEDED,
 * RESOURCE_EXHAUSTED, CANCELLED, ABORTED, INTERNAL while connecting, the server's certificate, TLS on
 * one side only), conf.auth (UNAUTHENTICATED,
 * PERMISSION_DENIED, our client certificate), conf.foreign (no gRPC there, UNIMPLEMENTED, ...),
 * TOO_LARGE (request over the server's limit), STOPPED (poll said so).
 */
int grpc_call(struct grpc *g, const char *method, const void *req, size_t n, int deadline_ms,
	      struct buf *reply, int *status, struct err *err);

/* Splits "http://h:p", "https://h:p", "tcp://h:p", "h:p", "[::1]:p"; tls: true for https. */
int wire_parse_address(const char *address, char **ret_host, int *ret_port, bool *ret_tls, struct err *err);

struct etcd;
/* No I/O. conf is borrowed and outlives the handle. Any endpoint that answers is used. */
struct etcd *etcd_new(const struct conf_etcd *conf, bool (*poll)(void *arg), void *poll_arg);
void etcd_free(struct etcd *e);
DEFINE_AUTO(struct etcd, etcd_free)

struct etcd_kv {
	const char *key; /* NUL-terminated, whole */
	const uint8_t *value;
	size_t size;
	int64_t create_revision, mod_revision;
};
/* One prefix (or single key) to read. */
struct etcd_range {
	const char *key;
	bool prefix; /* all keys that start with key */
	bool keys_only;
	int64_t min_mod_revision; /* 0: all; else only keys changed at or after it */
	/* results, in the arena */
	struct etcd_kv *kvs;
	size_t kv_count;
	int64_t total; /* keys in the range, whether changed or not */
};
struct etcd_answer {
	uint64_t cluster_id;
	int64_t revision; /* of the store; all ranges were read at it */
};
#define ETCD_MAX_RANGES 128 /* of one read: etcd's --max-txn-ops */

/*
 * Linearizable read of several ranges at one revision, in one transaction. Results live in the
 * arena. Errors: SOURCE_LOST, SOURCE_AUTH, SOURCE_FOREIGN (not an etcd). Blocks <= deadline_ms.
 */
int etcd_read(struct etcd *e, struct etcd_range *ranges, size_t n, int deadline_ms, struct arena *arena,
	      struct etcd_answer *ret, struct err *err);

/* The version of the endpoint that answers, "3.5.9". Errors as etcd_read(). */
int etcd_version(struct etcd *e, int deadline_ms, char *ret, size_t n, struct err *err);

/*
 * R32: a key that says who writes to a target, bound to a lease, so that it goes with its owner.
 */
struct etcd_owner {
	int64_t lease; /* 0: none */
};
/*
 * Takes the key, keeps it, or finds out who has it. value: who we are; a key whose value begins with the
 * same `same` bytes is ours from an earlier life and is taken over. 0: it is ours for ttl_s from now.
 * 1: another owner has it; *other: his value, in the arena. SOURCE_LOST, SOURCE_AUTH (no right to write)
 * ...: nothing is known. Blocks <= deadline_ms a call of etcd, three at most.
 */
int etcd_own(struct etcd *e, struct etcd_owner *o, const char *key, const char *value, size_t same, int ttl_s,
	     int deadline_ms, struct arena *arena, const char **other, struct err *err);
/* Writes a key that stays. Errors as etcd_read(). */
int etcd_put(struct etcd *e, const char *key, const char *value, int deadline_ms, struct err *err);
/* Gives the key up; best effort. */
void etcd_disown(struct etcd *e, struct etcd_owner *o, int deadline_ms);

#endif
