/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kafka source, private to its files:
 *
 *   source_kafka.c        the ops: deliver records, start and stop pchannels, report what is wrong
 *   source_kafka_conf.c   the librdkafka client: its settings, what it says of its connections
 *   source_kafka_query.c  questions to the broker: bounds, times, one message, the gap check
 *   source_kafka_limits.c settings of a topic, for the operator's tools
 *
 * One librdkafka consumer a handle, without a group: librdkafka's partition-wise interface
 * (consume_start, consume_stop) into one queue, so neither a coordinator, nor stored offsets, nor
 * the right to use a group is ever involved. A pchannel is partition 0 of the topic of that name.
 *
 * Invariants. K1: `next` of a part is the offset after the last record that was handed out; a part
 * is only ever started at its `next`, and what the queue holds of it is dropped when it stops. So
 * nothing is lost or repeated, whatever stops and starts it. K2: a part is started only after the
 * gap check (R11) passed on the connection that is in use: when all brokers were lost, everything
 * stops and is checked again. K3: offsets are handed out without holes, unless the log has one.
 *
 * The reader's thread calls everything, except: librdkafka's threads call the log callback (the
 * text is under `lock`), and records are released anywhere (`refs` is atomic).
 */
#ifndef CDC_DATA_SOURCE_KAFKA_H
#define CDC_DATA_SOURCE_KAFKA_H

#include <cdc/source.h>

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#define KAFKA_BATCH 256 /* messages taken from librdkafka's queue at once */
#define KAFKA_INDEX_MAX 4096

enum part_state {
	PART_FREE,   /* index not in use */
	PART_ON,     /* being fetched */
	PART_PAUSED, /* stopped by the caller */
	PART_CHECK,  /* stopped: the gap check must pass first */
	PART_GONE,   /* stopped until all brokers are lost and come back: `gone` says why */
};

struct part {
	enum part_state state;
	bool paused; /* as the caller wants it, in PART_CHECK too */
	rd_kafka_topic_t *topic;
	char pchannel[PCHANNEL_MAX];
	int64_t next;
	int64_t hole_end;    /* where a hole after `next` ends, which is being looked at again; -1 */
	int64_t heard_ms;    /* when it was last known to be there: a message, or an answer */
	struct position pos; /* next is not kept up to date; guard is (R11) */
	struct err gone;     /* of PART_GONE */
};

/* A topic that was missing when the broker was last asked: by name, for an assignment that fails leaves no
 * part behind. */
struct missing {
	char pchannel[PCHANNEL_MAX];
	int64_t since_ms;
};

struct source {
	const struct conf_kafka *conf;
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	struct part **parts; /* by index; NULL: never used */
	int part_count;
	struct missing *missing;
	int missing_count;
	rd_kafka_message_t *batch[KAFKA_BATCH]; /* taken, not yet handed out; NULL: dropped */
	int batch_at, batch_count;
	size_t drained; /* bytes and messages taken since the queue was last found empty */
	int drained_messages;
	bool recheck;    /* all brokers were lost: every part has to pass the gap check again */
	bool refused;    /* they refuse our credentials */
	atomic_int refs; /* the handle and each record that is out */
	pthread_mutex_t lock;
	char why[512];     /* under lock: the last thing librdkafka complained of; "" when all is well */
	char refusal[256]; /* under lock: why the last certificate was refused */
};

extern const struct source_ops source_kafka;

int64_t kafka_now_ms(void); /* monotonic */

/* source_kafka_conf.c */
int kafka_client_open(struct source *s, struct err *err);
/* After an answer: what was wrong before is no explanation any more. */
void kafka_client_well(struct source *s);
/* SOURCE_LOST or SOURCE_AUTH, by what librdkafka said last. code: what the failed call returned. */
int kafka_failed(struct source *s, const char *pchannel, rd_kafka_resp_err_t code, struct err *err);

/* source_kafka_query.c; `until` is on the clock of kafka_now_ms */
int kafka_bounds(struct source *s, const char *pchannel, int64_t until, int64_t *first, int64_t *end,
		 struct err *err);
int kafka_at_time(struct source *s, const char *pchannel, int64_t time_ms, int64_t until, int64_t *ret,
		  struct err *err);
/*
 * The gap check (R11) of a part that is not started: 0, SOURCE_LOST, SOURCE_AUTH, POSITION_GONE, or
 * SOURCE_WAIT. *missing, written always: POSITION_GONE only because there is no such topic.
 */
int kafka_check(struct source *s, const struct part *p, int64_t until, bool *missing, struct err *err);
/* False: the broker says that the topic of a silent part is missing, or shorter than what was read. */
bool kafka_still_there(struct source *s, const struct part *p, int64_t until);
/* Wakes librdkafka's fetchers, which look at a drained queue only once a second by themselves. */
void kafka_wake(struct source *s);

/* source_kafka_limits.c: source_ops.limits */
int kafka_limits(struct source *s, const char *pchannel, int timeout_ms, struct source_limits *ret,
		 struct err *err);

#endif
