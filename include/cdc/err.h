/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. One table gives every error its name, the policy that the loops follow, the HTTP status
 * that the API answers and a default text, so that the four cannot drift apart.
 *
 * Convention of the whole project: a function that can fail returns int and takes `struct err *err`
 * last. It returns >= 0 on success and the negative code on failure, after err_set() has filled
 * *err with what failed, where, and what to do. Results go to `ret` arguments, written on success
 * only. Library code never logs: the loops (worker.c, control) do.
 */
#ifndef CDC_ERR_H
#define CDC_ERR_H

#include <stddef.h>

/*
 * Policies. RETRY: back off and do the same step again, for ever. HOLD: the task (or the one
 * collection that the text names) waits for an operator, everything else flows. CALLER: the
 * request was wrong; only the API produces and answers it. EXIT: stop cleanly, exit non-zero.
 */
enum err_policy { ERR_RETRY, ERR_HOLD, ERR_CALLER, ERR_EXIT };

#define ERR_TABLE(X) \
	X(INVALID, CALLER, 400, "invalid request") \
	X(NOT_FOUND, CALLER, 404, "not found") \
	X(METHOD, CALLER, 405, "method not allowed") \
	X(DUPLICATE, CALLER, 409, "already exists") \
	X(TOO_LARGE, CALLER, 413, "too large") \
	X(LIMIT, CALLER, 429, "limit reached") \
	X(NO_SOURCE, CALLER, 503, "no source configured") \
	X(TARGET_BAD, CALLER, 502, "the target is not a usable Milvus") \
	X(CONFIG, EXIT, 500, "configuration error") \
	X(SOURCE_LOST, RETRY, 503, "source not reachable") \
	X(SOURCE_WAIT, RETRY, 503, "waiting for the source") \
	X(SOURCE_AUTH, RETRY, 503, "source refuses our credentials") \
	X(SOURCE_FOREIGN, HOLD, 409, "the source is not the one this task was made for") \
	X(SOURCE_FORMAT, HOLD, 500, "source sent something we cannot read") \
	X(POSITION_GONE, HOLD, 409, "source no longer has this position") \
	X(TARGET_LOST, RETRY, 502, "target not reachable") \
	X(TARGET_AUTH, RETRY, 502, "target refuses our credentials") \
	X(TARGET_BUSY, RETRY, 502, "target is not ready") \
	X(TARGET_REFUSED, HOLD, 502, "target refuses this operation") \
	X(TARGET_SCHEMA, HOLD, 409, "target has another schema") \
	X(TARGET_OTHER, RETRY, 409, "another milvus-cdc writes to this target") \
	X(JOURNAL_FULL, RETRY, 507, "journal at its size limit") \
	X(JOURNAL_IO, RETRY, 500, "journal cannot be written or read") \
	X(JOURNAL_BAD, HOLD, 500, "journal damaged") \
	X(JOURNAL_NEWER, EXIT, 500, "data directory written by a newer version") \
	X(STATE_IO, RETRY, 500, "state file cannot be written or read") \
	X(LOCKED, EXIT, 409, "in use by another process") \
	X(STOPPED, RETRY, 503, "stopping") \
	X(TIMEOUT, RETRY, 504, "timed out") \
	X(INTERNAL, EXIT, 500, "internal error")

enum {
	ERR_OK = 0,
#define X(name, policy, http, text) ERR_##name,
	ERR_TABLE(X)
#undef X
		ERR_COUNT
};

struct err {
	int code;           /* ERR_*, positive; 0 when unset */
	char text[1024];    /* a sentence for the operator; never a secret */
	char pchannel[256]; /* "": about no single one; a field of the log line, not part of the text */
	int system; /* errno of the call that failed; 0: none did, or it tells no more than the code */
};

/* Fill *err (which may be NULL) and return -code. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Put "prefix: " before the text that is there; returns -err->code. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* If rc is an error: *err is about this pchannel, until the next err_set(). Returns rc. */
int err_about(int rc, struct err *err, const char *pchannel);
/* The same with the errno that it comes of, which the service manager is told. */
int err_system(int rc, struct err *err, int number);

/* All take the positive code; unknown codes count as INTERNAL. */
enum err_policy err_policy(int code);
int err_http_status(int code);
const char *err_name(int code); /* "SOURCE_LOST" */
const char *err_text(int code); /* the default text */

#endif
