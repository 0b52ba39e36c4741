/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target in memory with the rules of a real one: rows become visible with a tick, a message that is
 * sent twice between two ticks counts once, one that is sent again after a tick is doubled, a row at or
 * below a tick is poison. The world lies in shared memory, so that it outlives a killed child process.
 */
#ifndef FAKE_SINK_MEMORY_H
#define FAKE_SINK_MEMORY_H

#include <cdc/sink.h>

#define WORLD_ROWS 4096

struct world {
	struct world_row {
		int64_t collection_id;
		uint64_t id; /* mq id */
		char pchannel[32];
		cdc_ts ts, out;
		int window; /* number of the tick interval it was sent in */
		enum kind kind;
		int copies; /* that the target would show */
	} rows[WORLD_ROWS];
	int row_count;
	int window; /* advances with each advancing tick */
	cdc_ts tick;
	int poisoned; /* rows at or below a tick */
	int doubled;
	int sends, ticks, ddls, flushes;
	int32_t version; /* of the last window (R19) */
	int64_t merge_limit;
	struct {
		enum kind kind;
		int64_t collection_id;
		cdc_ts out;
		int rows_before; /* rows that had been sent when it came */
	} ddl[256];
	int ddl_count;
	/* faults */
	int calls, fail_at, fail_code, fail_for; /* calls fail_at .. fail_at + fail_for - 1 fail */
	int64_t refuse_collection;               /* its rows are refused for good (R23) */
	int64_t refuse_ddl;                      /* its DDL, too */
	bool refuse_ddl_of_all;
	int refuse_every; /* of refuse_collection only every Nth id, told last first, as several lanes may */
};

struct world *world_new(void); /* shared memory; lives as long as the test */
void world_reset(struct world *w);
extern struct world *sink_memory_world; /* what sink_memory writes to */
extern const struct sink_ops sink_memory;

#endif
