/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of a task's start share: reader_start.c (now) and reader_start_at.c (start points). */
#ifndef CDC_DATA_READER_START_H
#define CDC_DATA_READER_START_H

#include "reader_priv.h"

#define START_MARGIN_MS 10000 /* a cluster's clocks differ by less */

struct search {
	struct search_channel {
		char name[PCHANNEL_MAX];
		cdc_ts tick; /* the last one; 0: the log holds none */
		struct mq_id first, end;
		bool seen;
		struct mq_id next; /* where reading begins */
		bool wanted;       /* next is set: a collection that exists needs it */
		struct {
			int64_t ms; /* last question for a time, and the answer; 0: none */
			struct mq_id id;
		} at;
		int64_t first_ms; /* the broker's time of `first`; 0: not asked yet */
	} channel[MERGER_MAX];
	size_t count;
	int64_t deadline, contact; /* of all of it; of the first answer */
};

/* Makes it if it is not there; NULL: too many. */
struct search_channel *search_channel(struct search *s, const char *name);

/*
 * For every collection that exists at `now`: which rows it wants, and from where its pchannels are read
 * (search_channel.next). t0: below all of them. POSITION_GONE, INVALID as flow_create(). In the arena.
 */
struct start_plan {
	cdc_ts t0;
	struct catalog_since *since;
	size_t count;
};
int start_plan(struct reader *r, struct search *s, const struct start *start, cdc_ts now, struct arena *arena,
	       struct start_plan *ret, struct err *err);

#endif
