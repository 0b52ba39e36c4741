/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data path of one task, as control sees it: a folder, a reader and an applier. Everything
 * below is thread-safe unless said otherwise; calls on one flow are serialized by control.
 */
#ifndef CDC_FLOW_H
#define CDC_FLOW_H

#include <cdc/conf.h>
#include <cdc/err.h>
#include <cdc/mem.h>
#include <cdc/sink.h>
#include <cdc/worker.h>

/*
 * Collections of a task: every one that matches an item and none that excludes. "*" matches all; db ""
 * means default.
 */
struct selection_item {
	char *db, *collection; /* "*" or a name */
	bool exclude;
};
struct selection {
	struct selection_item *items;
	size_t count;
};
bool selection_wants(const struct selection *s, const char *db, const char *collection);
bool selection_wants_db(const struct selection *s, const char *db);
struct selection selection_copy(const struct selection *s); /* the caller's, with its strings */
void selection_clear(struct selection *s);

/* Where the rows of a collection begin. */
enum start_kind { START_NOW, START_EARLIEST, START_TIME, START_POSITIONS };
struct start_point {
	enum start_kind kind;
	int64_t time_ms; /* TIME: unix ms */
	struct start_position {
		char vchannel[PCHANNEL_MAX + 32]; /* of the source */
		uint8_t id[64]; /* as the source's queue writes a message ID (Kafka: 8 bytes) */
		size_t id_size;
		cdc_ts ts; /* rows at or below it are not wanted; 0: all from there on are */
	} * positions;     /* POSITIONS: one a vchannel */
	size_t count;
};
struct start {
	struct start_point all;
	struct start_item {            /* collections that begin elsewhere; the closest name counts */
		char *db, *collection; /* "*" or a name */
		struct start_point at;
	} * items;
	size_t count;
};

struct flow_conf {
	const struct conf *conf;           /* borrowed, outlives the flow */
	const char *task_id;               /* copied */
	const char *dir;                   /* the task's folder; copied */
	const char *source_uuid;           /* made with the task; identity of its messages (R19); copied */
	const struct target_conf *target;  /* copied */
	const char *target_key;            /* tasks with one key share one clock of ticks (R22); copied */
	const struct selection *selection; /* copied */
	const struct name_map *names;      /* copied; NULL: none */
	const char *mode;                  /* of the sink: "replicate", "upsert"; copied */
	bool users;                        /* users, roles and grants are replicated, too */
	const struct start *start;         /* flow_create only; NULL: now */
};

struct flow;

/*
 * R31, before a task is made: is the probed target the configured source? DUPLICATE-free answer:
 * 0 no, 1 yes. Reads the source's catalog, <= 5 s. SOURCE_LOST, SOURCE_AUTH ...
 */
int flow_same_cluster(const struct conf *conf, const struct target_conf *t, const struct target_info *target,
		      struct err *err);
/*
 * Makes the folder of a new task: takes the start T0 (R3) from the running source and journals what
 * exists as the first cut. Everything the source acknowledges after this returns is replicated.
 * Blocks <= ~10 s; leaves nothing behind on failure. SOURCE_LOST, JOURNAL_IO ...; POSITION_GONE: the
 * source's log does not reach back to the start that was asked for; INVALID: that start is of no
 * collection there is.
 */
int flow_create(const struct flow_conf *conf, struct err *err);
/* Opens an existing folder; the one recovery path. No network I/O, threads not started. */
int flow_open(struct flow **ret, const struct flow_conf *conf, bool paused, struct err *err);
/*
 * R16: a closed flow whose journal is damaged (health or flow_open said JOURNAL_BAD). Moves what is
 * damaged and all after it away, so that flow_open goes on from before it and the reader reads it again
 * from the source. 1: done, *err says which file and why. 0: no damage found. Reads all that is not
 * applied yet: blocks for as long as that takes. JOURNAL_BAD: cannot be repaired, in words.
 */
int flow_repair(const struct flow_conf *conf, struct err *err);
void flow_start(struct flow *f);
/* R29: stops and starts applying only; capture goes on. Immediate, never blocks, idempotent. */
void flow_pause(struct flow *f, bool paused);
/* R23: sends collections again of which it is not known how much the target has; rows may be doubled. */
void flow_replay_unclear(struct flow *f);
/*
 * R32: nothing is sent to the target while there is a reason not to (copied; "": it is not known yet, no
 * cause for alarm); NULL: applying goes on. Capture goes on all the while. Never blocks, idempotent. A flow
 * is opened without.
 */
void flow_block(struct flow *f, const char *reason);
/*
 * R21: another daemon, or a task that is deleted, may have sent that target ticks up to there. What its tasks
 * send from now on is above it; what is in doubt is repeated as it was. Any thread, never blocks.
 */
void flow_target_floor(const char *target_key, cdc_ts ts);
/* R21: no task of this process, open or closed, has sent that target a tick above this. Any thread, never
 * blocks. */
cdc_ts flow_target_ticks(const char *target_key);
/* Asks both halves to stop; never blocks. */
void flow_stop(struct flow *f);
/* After flow_stop: waits (< 2 s in all) and frees. NULL is fine. */
void flow_close(struct flow *f);
/* R22: a task whose flow is closed with a window in doubt holds its target's ticks back until it is opened
 * again. This one is not: it is deleted. Any thread, never blocks. */
void flow_forget(const char *target_key, const char *task_id);
/* A deleted task: after flow_close. Removes the folder (rename to trash first is control's). */

/* How far the log is read for one shard; of a channel of no collection: vchannel "" and collection_id 0. */
struct flow_position {
	const char *pchannel, *vchannel;
	int64_t collection_id;
	const char *db, *collection;
	int64_t id;  /* the message to read on with; Kafka: its offset */
	uint64_t ts; /* rows at or below it are read */
};
struct flow_status {
	struct health reader, applier;
	int64_t captured, journaled, applied; /* rows; captured counts rows read, also those not yet cut */
	int64_t lag_ms; /* now minus the source time up to which the target is complete; grows while hung */
	uint64_t journal_ts, applied_ts;
	int64_t journal_bytes, last_seq, applied_seq;
	int held_collections;
	int64_t skipped; /* rows of objects that were gone before they could be seen (R7) */
	int64_t reader_silent_ms, applier_silent_ms; /* pulses, for the watchdog */
	const char *mode;                            /* "replicate", "upsert" */
};
void flow_status(struct flow *f, struct flow_status *ret);
/*
 * What the source did and is not replicated (bulk imports, passwords), in words, for as long as it is true.
 * Returns how many there are; at most max of them in the arena.
 */
size_t flow_warnings(struct flow *f, struct arena *arena, size_t max, const char ***ret);
/* Read positions of all live collections' shards, by collection, in the arena; returns the number. */
size_t flow_positions(struct flow *f, struct arena *arena, struct flow_position **ret);

#endif
