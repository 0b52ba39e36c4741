/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader: the loop read -> decode -> cut -> merge -> append of one task. One worker thread runs
 * reader_step(); the counters of reader_stat() may be read by any thread.
 */
#ifndef CDC_DATA_READER_H
#define CDC_DATA_READER_H

#include <cdc/conf.h>
#include <cdc/err.h>
#include <cdc/flow.h>
#include <cdc/journal.h>
#include <cdc/mem.h>
#include <cdc/source.h>
#include <cdc/wire.h>

struct reader;

struct reader_conf {
	const struct conf *conf;
	const struct selection *selection;
	const struct source_ops *source; /* source_select() or a fake's */
	struct journal *journal;         /* borrowed */
	bool (*stopping)(void *arg);     /* ends long waits early */
	void *arg;
	bool users; /* users, roles and grants, too */
	/* What people have to know, told once; by the reader's thread. May be NULL. */
	void (*note)(void *arg, const char *text);
	void *note_arg;
};

/* Restores catalog and positions from the journal. No I/O but the journal's. */
int reader_new(struct reader **ret, const struct reader_conf *conf, struct err *err);
void reader_free(struct reader *r);
DEFINE_AUTO(struct reader, reader_free)

/*
 * R3, once, for a new and empty journal: now is the highest tick seen on any live pchannel before this
 * call ends (not a moment ahead of it, as the timestamp oracle's stored bound would be: no row that is
 * acknowledged after the call can be at or below it). Reading starts ten seconds of log before now, or
 * where `start` (NULL: now) says. T0 is the least of the collections' starts; everything at or below it is
 * discarded. What exists now becomes the first cut, at T0. *floor: the rows may be older than what the
 * target has been sent by others before, and must be restamped above this (R21); 0: they are not.
 * Blocks <= ~10 s. POSITION_GONE, INVALID as flow_create().
 */
int reader_start(struct reader *r, const struct start *start, cdc_ts *floor, struct err *err);

/* One batch; for struct worker_conf.step. */
int reader_step(void *reader, struct err *err);

/* Entries up to seq are not needed by the applier any more (J3). Any thread. */
void reader_applied(struct reader *r, int64_t seq);

struct reader_stat {
	int64_t captured; /* rows read that the task wants or may want */
	int64_t skipped;  /* rows of objects gone before they were seen (R7) */
	int64_t retries;  /* producer's repeated messages left out */
	size_t buffered;  /* bytes kept in memory */
	int64_t quiet_ms; /* no pchannel is live: unix ms of the last look at the catalog; else 0 */
};
void reader_stat(struct reader *r, struct reader_stat *ret);
/* What the source did and is not replicated, in words: returns how many there are; at most max in the arena.
 */
size_t reader_warnings(struct reader *r, struct arena *arena, size_t max, const char ***ret);

#endif
