/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk imports of the source: rows that go into its storage without a message, so they cannot be
 * replicated. Each that is completed becomes a warning of its collection, told once and kept until the
 * collection is dropped.
 *
 * They are found in etcd, where the source keeps every import for some time after its end (2.3: importtask/,
 * a day; 2.4 and 2.5: datacoord-meta/import-job/, three hours), and by the Import message of 2.5, which
 * stays as long as the log does. A kept row "import/<id>" says that an import was dealt with; it goes when
 * etcd has forgotten the import, or with the collection if it came from a message. Reader's thread.
 */
#include "catalog_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define IMPORT "import/"

/* States of rootcoord's import task and of datacoord's import job. */
enum { TASK_PERSISTED = 5, TASK_COMPLETED = 6, JOB_COMPLETED = 5 };

struct import {
	int64_t id, collection_id, rows; /* rows 0: not known */
	cdc_ts started;                  /* 0: not known */
	bool done, logged;
};

/* An unreadable one is none: other versions may keep other things there, and nothing else depends on it. */
static struct import parse(const struct item *it, enum range range, struct arena *arena)
{
	struct arena_pb pb = arena_pb(arena);
	ProtobufCAllocator *a = (ProtobufCAllocator *)&pb;
	struct import im = {.id = it->id};

	if (range == RANGE_IMPORT_TASK) {
		const Mv__ImportTask *m = mv__import_task__unpack(a, it->size, it->data);

		if (!m || !m->state)
			return im;
		im.collection_id = m->collection_id;
		im.rows = m->state->row_count;
		im.started = m->create_s > 0 ? ts_from_ms(m->create_s * 1000) : 0;
		im.done = m->state->state == TASK_PERSISTED || m->state->state == TASK_COMPLETED;
	} else {
		const Mv__ImportJob *m = mv__import_job__unpack(a, it->size, it->data);

		if (!m)
			return im;
		im.collection_id = m->collection_id;
		im.done = m->state == JOB_COMPLETED;
	}
	return im;
}

static bool live(const struct catalog *c, int64_t collection_id)
{
	const struct coll *k = coll_find(c, collection_id);

	return k && k->known && k->known->state == KNOWN_LIVE;
}

static void tell(struct catalog *c, const struct import *im, cdc_ts ts, struct arena *arena)
{
	const struct known *k = coll_find(c, im->collection_id)->known;
	char rows[40] = "rows were";

	if (im->rows)
		snprintf(rows, sizeof(rows), "%lld row%s", (long long)im->rows,
			 im->rows == 1 ? " was" : "s were");
	warning_set(
		c, arena_printf(arena, WARNING_IMPORT "%lld", (long long)im->collection_id), ts,
		"collection %s.%s: %s imported in bulk at the source (import %lld). A bulk import writes "
		"nothing to the source's message queue, so these rows are not on the target and changes of "
		"them have no effect there. Import the same files into the target, or copy the collection "
		"to the target and create the task anew",
		k->db, k->name, rows, (long long)im->id);
}

/* Of a live collection, for the first time. silent: it was there before the task. */
static void deal(struct catalog *c, const struct import *im, bool silent, cdc_ts ts, struct arena *arena)
{
	const char *key = arena_printf(arena, IMPORT "%lld", (long long)im->id);
	Jr__KnownImport m = JR__KNOWN_IMPORT__INIT;

	if (kept_has(c, key))
		return;
	m.collection_id = im->collection_id;
	m.logged = im->logged;
	kept_set(c, key, &m);
	if (!silent)
		tell(c, im, ts, arena);
}

/*
 * Only rows from a start on are wanted. Of a job the time is not known: it was before the task, unless that
 * begins in the past.
 */
static bool before_start(const struct catalog *c, const struct import *im, const struct coll *k,
			 cdc_ts watermark)
{
	if (!im->started)
		return !c->start_now;
	return im->started <= watermark || im->started <= k->known->since;
}

static void look(struct catalog *c, enum range range, cdc_ts watermark, bool existed, struct arena *arena)
{
	const struct map *m = &c->ranges[range];

	for (size_t i = 0; i < m->cap; i++)
		for (struct node *node = m->slots[i]; node; node = node->next) {
			const struct item *it = OBJECT_OF(struct item, node, node);
			const struct coll *k;
			struct import im;

			if (it->kind != ITEM_IMPORT || it->gone)
				continue;
			im = parse(it, range, arena);
			k = coll_find(c, im.collection_id);
			if (!im.done || !k)
				continue;
			if (live(c, im.collection_id)) {
				deal(c, &im, existed && before_start(c, &im, k, watermark), watermark, arena);
			} else if (!k->known && !coll_over(c, k)) {
				c->imports_dirty = true; /* journaled by a later cut */
			}
		}
}

/* What etcd has forgotten never comes again. */
static void forget_imports(struct catalog *c, struct arena *arena)
{
	struct arena_pb pb = arena_pb(arena);
	struct state_row *rows;
	size_t n = kept_list(c, IMPORT, arena, &rows);

	for (size_t i = 0; i < n; i++) {
		const Jr__KnownImport *m =
			jr__known_import__unpack((ProtobufCAllocator *)&pb, rows[i].size, rows[i].value);
		int64_t id = strtoll(rows[i].key + strlen(IMPORT), NULL, 10);

		if (m->logged ? live(c, m->collection_id)
			      : item_find(c, RANGE_IMPORT_TASK, ITEM_IMPORT, 0, id) ||
					item_find(c, RANGE_IMPORT_JOB, ITEM_IMPORT, 0, id))
			continue;
		kept_set(c, rows[i].key, NULL);
	}
}

static void forget_warnings(struct catalog *c, const char *prefix, struct arena *arena)
{
	struct state_row *rows;
	size_t n = kept_list(c, prefix, arena, &rows);

	for (size_t i = 0; i < n; i++)
		if (!live(c, strtoll(rows[i].key + strlen(prefix), NULL, 10)))
			kept_set(c, rows[i].key, NULL);
}

void import_plan(struct catalog *c, cdc_ts watermark, bool existed, struct arena *arena)
{
	bool dirty = c->imports_dirty;

	forget_warnings(c, WARNING_IMPORT, arena);
	forget_warnings(c, WARNING_PROPERTIES, arena);
	if (!dirty)
		return;
	c->imports_dirty = false;
	look(c, RANGE_IMPORT_TASK, watermark, existed, arena);
	look(c, RANGE_IMPORT_JOB, watermark, existed, arena);
	forget_imports(c, arena);
}

void catalog_import(struct catalog *c, int64_t collection_id, int64_t job_id, cdc_ts ts, struct arena *arena)
{
	struct import im = {.id = job_id, .collection_id = collection_id, .logged = true};

	if (live(c, collection_id))
		deal(c, &im, false, ts, arena);
}
