/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source: the message queue of the source Milvus. An ops table, so that another queue is one
 * file and one table row. One thread at a time uses a handle (the reader's); blocking calls say
 * how long. A pchannel is addressed by the caller's index (small, dense, chosen by the caller).
 */
#ifndef CDC_SOURCE_H
#define CDC_SOURCE_H

#include <cdc/conf.h>
#include <cdc/err.h>
#include <cdc/model.h>

struct source;

/* What bounds the log of a pchannel, and one message in it. */
struct source_limits {
	int64_t keep_ms, keep_bytes; /* retention; -1: none */
	int64_t message_max;         /* bytes, as the broker takes them */
	int64_t receive_max;         /* bytes, as our client takes them */
};

struct source_ops {
	const char *name; /* "kafka" */
	/* Creates the client; no wait for the broker. conf is borrowed, outlives the handle. */
	int (*open)(struct source **ret, const struct conf_source *conf, struct err *err);
	void (*close)(struct source *s); /* NULL is fine */

	/* First and one-past-last message of a pchannel, from the broker now. Blocks <= timeout_ms.
	 * SOURCE_LOST; POSITION_GONE if the pchannel does not exist. */
	int (*bounds)(struct source *s, const char *pchannel, int timeout_ms, struct mq_id *first,
		      struct mq_id *end, struct err *err);
	/* First message whose broker timestamp is >= time_ms, or the end. Blocks <= timeout_ms. */
	int (*at_time)(struct source *s, const char *pchannel, int64_t time_ms, int timeout_ms,
		       struct mq_id *ret, struct err *err);
	/* Decodes a start position as the catalog stores it (Kafka: 8 bytes little-endian offset). */
	int (*start_id)(const uint8_t *bytes, size_t n, struct mq_id *ret, struct err *err);

	/*
	 * Starts delivery of pos->pchannel from pos->next (inclusive) as index. Checks the gap first
	 * (R11): POSITION_GONE with pchannel, wanted and held range in words, when the broker no
	 * longer (or not yet: end < next) has it, or when the message at pos->guard is another one.
	 * Blocks <= timeout_ms. SOURCE_LOST: nothing was assigned, try again; for some seconds also
	 * when the broker does not know the pchannel, since one that is starting up may yet.
	 */
	int (*assign)(struct source *s, int index, const struct position *pos, int timeout_ms,
		      struct err *err);
	void (*unassign)(struct source *s, int index);
	/* Back-pressure (R10): stop and go on delivering one pchannel; nothing is lost or repeated. */
	int (*pause)(struct source *s, int index, bool paused, struct err *err);

	/*
	 * Up to max records of all assigned pchannels, in order within each. Waits <= wait_ms for the
	 * first. Returns the number; 0: nothing came. The records belong to the caller. Errors are
	 * sticky until the cause goes away: SOURCE_LOST (all brokers down), POSITION_GONE (the log was
	 * cut under us: never a silent jump; err->pchannel tells whose), SOURCE_FORMAT (a message cannot be
	 * decoded: names pchannel and id). No record is lost by an error: the next call goes on.
	 */
	int (*read)(struct source *s, struct record *ret, size_t max, int wait_ms, struct err *err);

	/* For the operator's tools; may be NULL. As the broker says now; SOURCE_AUTH: it does not tell us. */
	int (*limits)(struct source *s, const char *pchannel, int timeout_ms, struct source_limits *ret,
		      struct err *err);
};

/* The queue that conf names; NULL when none is configured. */
const struct source_ops *source_select(const struct conf_source *conf);

#endif
