/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merger: cutters of all live pchannels -> the records of one cut, in total order.
 *
 * The watermark is the lowest T(P) over the pchannels that count; everything at or below any X <= it
 * has been read. A cut is looked at (merger_collect) and leaves only when the journal has it
 * (merger_cut): R2. Total key inside and between cuts (R12): (ts, Delete before Insert before
 * others, pchannel, id). Pure: no I/O, no clock. One thread: the reader's.
 */
#ifndef CDC_DATA_MERGER_H
#define CDC_DATA_MERGER_H

#include "cutter.h"

#define MERGER_MAX 4096 /* pchannels of one task; Milvus has 16 by default */

struct channel {
	struct cutter cutter;
	bool used;
	bool assigned;         /* the source delivers it */
	bool paused;           /* the source was told to wait (R10) */
	bool closed;           /* ends without a last tick: not waited for (R5) */
	int64_t tick_moved_ms; /* when T(P) last moved, by the reader's clock */
};

struct merger {
	struct channel *channels; /* by index; slots are reused */
	size_t count;             /* slots */
	/* scratch of merger_collect */
	const struct record **order;
	size_t order_cap;
};

void merger_init(struct merger *m);
void merger_done(struct merger *m);
/* Index of the new channel, or of the one that has that pchannel already. -1: more than MERGER_MAX. */
int merger_join(struct merger *m, const struct position *pos, bool ticking);
void merger_leave(struct merger *m, int index);
int merger_find(const struct merger *m, const char *pchannel); /* -1: not there */

/* Lowest T(P) of the ticking channels that are not closed; 0 when there is none. */
cdc_ts merger_watermark(const struct merger *m);
size_t merger_live(const struct merger *m); /* ticking, not closed */
size_t merger_bytes(const struct merger *m);
/* Is there a record at or below ts? */
bool merger_has(const struct merger *m, cdc_ts ts);

/*
 * The records with ts <= *watermark in total order, at most about max_bytes of them: if there are
 * more, *watermark is lowered to the timestamp where the limit is reached (all records of one
 * timestamp stay together). A producer's retry (same message ID, timestamp, kind and pchannel at
 * another offset) is left out; *dups counts them. Valid until the next feed or cut.
 */
size_t merger_collect(struct merger *m, cdc_ts *watermark, size_t max_bytes, const struct record *const **ret,
		      size_t *dups);
void merger_cut(struct merger *m, cdc_ts watermark);

/*
 * R10: should this channel be told to wait (or to go on)? Only one that is ahead of the watermark may
 * wait: a full queue before the laggard's next tick would hold the watermark for ever.
 */
bool merger_should_pause(const struct merger *m, int index, size_t limit);

#endif
