/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane: one thread with one connection that sends messages to the target pchannels it owns, strictly
 * in order within each. It works on what it is handed (lane_run) and answers when all of it is
 * confirmed (lane_wait); handing over and waiting are the applier's thread's.
 */
#ifndef CDC_DATA_LANE_H
#define CDC_DATA_LANE_H

#include "milvus.h"
#include "rewrite.h"

#include <cdc/sink.h>

struct lane;

struct lane_job {
	/* in, borrowed until lane_wait() returns */
	const struct out_message *const *messages; /* of one pchannel after another, in order */
	size_t count;
	bool split_refused; /* R23: a refused request is sent again message by message */
	/* out */
	struct sink_refusal *refused; /* one a message, at most; malloc, the caller frees */
	size_t refused_count;
	bool vague; /* a refusal did not say that it is for good */
	int rc;
	struct err err;
};

struct lane *lane_new(int number, const struct sink_conf *conf);
void lane_run(struct lane *l, struct lane_job *job);
void lane_wait(struct lane *l);
/* Ends the thread; a job in progress ends by conf.poll. NULL is fine. */
void lane_free(struct lane *l);

#endif
