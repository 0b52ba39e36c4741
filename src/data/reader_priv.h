/* SPDX-License-Identifier: Apache-2.0 */
/* The reader's insides, shared by its three files: reader.c (loop), reader_cut.c, reader_start.c. */
#ifndef CDC_DATA_READER_PRIV_H
#define CDC_DATA_READER_PRIV_H

#include "catalog.h"
#include "merger.h"
#include "reader.h"

#include <pthread.h>
#include <stdatomic.h>

#define READ_BATCH 256
#define CUT_BYTES ((size_t)4 << 20) /* bodies in one journal transaction */
#define CUT_GATHER_MS 200           /* behind: gather up to CUT_BYTES for so long */
#define SILENT_MS 5000              /* no tick for so long on an ending pchannel: R5 */
#define SILENT_TOLD_MS 15000        /* no tick for so long: health says so (R27) */
#define ASSIGN_TIMEOUT_MS 1500      /* a stop must not wait longer */
#define BOUNDS_TIMEOUT_MS 1500
#define REPLICATE_RETRY_MS 5000 /* the replicate topic may not exist yet */
#define TRIM_MS 5000
#define IDLE_MOVED_MS 10000 /* nothing lives: how old a position of the replicate topic may get */

struct reader {
	/* constant after reader_new */
	struct reader_conf c;
	const struct conf_source *source_conf;
	struct etcd *etcd;
	struct source *source;
	int64_t (*clock_ms)(void); /* monotonic; replaced by tests */

	/* the reader's thread */
	struct catalog *catalog;
	struct merger merger;
	cdc_ts prev; /* watermark of the last journaled cut */
	struct record batch[READ_BATCH];
	bool behind;         /* the last read was full: more is waiting */
	struct arena *arena; /* of the pending cut */
	struct cut pending;  /* R2: built, not yet journaled; nothing is read meanwhile */
	bool has_pending;
	bool moved;        /* the replicate topic's position, since the last cut */
	const char **live; /* pchannels that stay after the pending cut; arena */
	size_t live_count;
	int64_t cut_ms, fence_ms, trim_ms, replicate_ms, watermark_ms;

	/* any thread, under the lock */
	pthread_mutex_t warnings_lock;
	char **warnings;
	size_t warning_count;

	/* any thread */
	atomic_llong captured, skipped, retries, applied_seq, buffered, quiet_ms;
};

/* reader_cut.c */
int reader_cut(struct reader *r, struct err *err);    /* >0 did something, 0 nothing to cut */
int reader_append(struct reader *r, struct err *err); /* the pending cut */
/* Joins every pchannel that a collection created <= watermark needs; returns the number joined. */
int reader_join(struct reader *r, cdc_ts watermark, struct err *err);
/* Builds r->pending for (r->prev, watermark]. */
/* idle: no pchannel is live. */
int reader_build(struct reader *r, cdc_ts watermark, bool idle, struct err *err);

/* reader_warn.c */
void reader_publish_warnings(struct reader *r);
void reader_free_warnings(struct reader *r);

#endif
