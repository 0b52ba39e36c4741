/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends the requests of one phase of a window side by side (upsert.h: no row is in two of them). A few
 * threads, each with one connection, live as long as the sink. The applier's thread hands the requests
 * over and waits: nothing is in flight when the call returns.
 */
#ifndef CDC_DATA_UPSERT_LANES_H
#define CDC_DATA_UPSERT_LANES_H

#include "milvus_rows.h"

#include <cdc/sink.h>

#define UPSERT_LANES 4

/* A request that the target does not take for good, as far as its answer says. */
struct upsert_no {
	const struct upsert_request *request;
	bool vague; /* the answer's code says nothing: it may be starting */
	char reason[512];
};

struct upsert_lanes;
struct upsert_lanes *upsert_lanes_new(const struct sink_conf *conf);
void upsert_lanes_free(struct upsert_lanes *l); /* NULL is fine */
/*
 * Sends all. 0: each is confirmed or refused; *ret: those refused, in the arena. The first other error
 * (TARGET_LOST, _BUSY, _AUTH, STOPPED) ends it: any of the requests may have been done or not.
 */
int upsert_lanes_run(struct upsert_lanes *l, struct upsert_request *const *requests, size_t n,
		     struct arena *arena, struct upsert_no **ret, size_t *ret_count, struct err *err);

#endif
