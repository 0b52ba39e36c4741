/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cutter of one pchannel: keeps what was read above the last cut, knows the last tick.
 *
 * A tick T promises that every later record of the pchannel has a greater timestamp; a record before
 * it may have one, too. So for any instant X <= the last tick all records with ts <= X have been
 * read: the cutter needs no packs, only its records and the tick. Pure: no I/O, no clock (R12).
 */
#ifndef CDC_DATA_CUTTER_H
#define CDC_DATA_CUTTER_H

#include <cdc/model.h>

struct cutter {
	/* read-only for others */
	char pchannel[PCHANNEL_MAX];
	bool ticking;        /* false: a topic without ticks (the replicate topic) */
	cdc_ts tick;         /* T(P): everything at or below has been read */
	size_t bytes;        /* of kept records */
	struct record *kept; /* above the last cut, in the order of reading */
	size_t kept_count;
	cdc_ts low;         /* records at or below were discarded: position's ts at the start, then cuts */
	uint64_t discarded; /* records at or below `low` */

	/* private */
	size_t kept_cap;
	struct position at;   /* next: after the last record read; guard: the last one */
	struct mq_id tick_id; /* the message that T(P) is from; not set before one came */
};

/* Starts at pos, which is copied: records <= pos->ts are discarded, T(P) is pos->ts. */
void cutter_init(struct cutter *c, const struct position *pos, bool ticking);
void cutter_done(struct cutter *c); /* releases what is kept */
/* Takes the record. Ticks move T(P) (never back); records at or below `low` are dropped. Not so without
 * ticks (R8): late ones are kept, and none goes before one that was read earlier and is still kept. */
void cutter_feed(struct cutter *c, struct record *r);
/* Records with ts <= watermark leave (and are released); they must have been journaled. */
void cutter_cut(struct cutter *c, cdc_ts watermark);
/* All that is kept leaves: nobody wants it any more. The position is then behind what was read. */
void cutter_forget(struct cutter *c);
/* R1: where to read on if everything <= watermark is covered: the first kept record above it or the
 * last tick if that is above it, whichever comes first, else the next message; ts = watermark. */
void cutter_position(const struct cutter *c, cdc_ts watermark, struct position *ret);

#endif
