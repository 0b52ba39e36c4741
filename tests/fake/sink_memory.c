/* SPDX-License-Identifier: Apache-2.0 */
/* See sink_memory.h. */
#include "sink_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

struct world *sink_memory_world;

struct sink {
	struct sink_conf conf;
};

struct world *world_new(void)
{
	void *p = mmap(NULL, sizeof(struct world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	sink_memory_world = p;
	return p;
}

void world_reset(struct world *w)
{
	memset(w, 0, sizeof(*w));
}

static int fault(struct err *err)
{
	struct world *w = sink_memory_world;

	w->calls++;
	if (w->fail_at && w->calls >= w->fail_at && w->calls < w->fail_at + (w->fail_for ? w->fail_for : 1))
		return err_set(err, w->fail_code ? w->fail_code : ERR_TARGET_LOST, "injected at call %d",
			       w->calls);
	return 0;
}

static int open_(struct sink **ret, const struct sink_conf *conf, struct err *err)
{
	struct sink *s = xcalloc(1, sizeof(*s));

	(void)err;
	s->conf = *conf;
	*ret = s;
	return 0;
}

static void close_(struct sink *s)
{
	free(s);
}

static int restore(struct sink *s, const struct state_row *objects, size_t n, struct err *err)
{
	(void)s;
	(void)objects;
	(void)n;
	(void)err;
	return 0;
}

static void put(const struct entry *e, cdc_ts out)
{
	struct world *w = sink_memory_world;
	struct world_row *r;

	if (out <= w->tick)
		w->poisoned++;
	for (int i = 0; i < w->row_count; i++) {
		r = &w->rows[i];
		if (r->id != e->id.lo || strcmp(r->pchannel, e->pchannel) != 0)
			continue;
		if (r->window != w->window) { /* a tick came between: the target shows it twice */
			r->copies++;
			w->doubled++;
		}
		return;
	}
	r = &w->rows[w->row_count++];
	*r = (struct world_row){.collection_id = e->collection_id,
				.id = e->id.lo,
				.ts = e->ts,
				.out = out,
				.window = w->window,
				.kind = e->kind,
				.copies = 1};
	snprintf(r->pchannel, sizeof(r->pchannel), "%s", e->pchannel);
}

static int write_(struct sink *s, const struct sink_window *win, struct arena *arena,
		  struct sink_refusal **refused, size_t *refused_count, struct err *err)
{
	struct world *w = sink_memory_world;
	struct sink_refusal *list = arena_alloc(arena, (win->count + 1) * sizeof(*list));
	size_t n = 0;
	int rc;

	(void)s;
	w->version = win->version;
	w->merge_limit = win->merge_limit;
	for (size_t i = 0; i < win->count; i++) { /* a failure leaves a prefix */
		if ((rc = fault(err)) < 0)
			return rc;
		w->sends++;
		if (win->entries[i].collection_id == w->refuse_collection &&
		    (!w->refuse_every || win->entries[i].id.lo % (uint64_t)w->refuse_every == 0)) {
			list[n].unclear = w->refuse_every > 0;
			list[n].collection_id = w->refuse_collection;
			list[n].seq = win->entries[i].seq;
			snprintf(list[n++].reason, sizeof(list->reason), "refused");
			continue;
		}
		put(&win->entries[i], win->out[i]);
	}
	if ((rc = fault(err)) < 0) /* all sent, the answer lost */
		return rc;
	for (size_t i = 0; w->refuse_every && i < n / 2; i++) {
		struct sink_refusal swap = list[i];

		list[i] = list[n - 1 - i];
		list[n - 1 - i] = swap;
	}
	*refused = list;
	*refused_count = n;
	return 0;
}

static int ddl(struct sink *s, const struct entry *e, cdc_ts out_ts, struct arena *arena,
	       struct state_row **ret, size_t *ret_count, struct err *err)
{
	struct world *w = sink_memory_world;
	int rc;

	(void)s;
	if ((rc = fault(err)) < 0)
		return rc;
	if (e->collection_id && (e->collection_id == w->refuse_ddl || w->refuse_ddl_of_all))
		return err_set(err, ERR_TARGET_SCHEMA, "another schema");
	if (w->ddl_count < (int)ARRAY_LEN(w->ddl)) {
		w->ddl[w->ddl_count].kind = e->kind;
		w->ddl[w->ddl_count].collection_id = e->collection_id;
		w->ddl[w->ddl_count].out = out_ts;
		w->ddl[w->ddl_count++].rows_before = w->row_count;
	}
	w->ddls++;
	if ((rc = fault(err)) < 0) /* done, the answer lost */
		return rc;
	*ret = arena_alloc(arena, sizeof(**ret));
	(*ret)->key = arena_printf(arena, "coll/%lld", (long long)e->collection_id);
	(*ret)->value = (const uint8_t *)"mapped";
	(*ret)->size = 6;
	*ret_count = e->collection_id ? 1 : 0;
	return 0;
}

static int tick(struct sink *s, cdc_ts ts, struct err *err)
{
	struct world *w = sink_memory_world;
	int rc;

	(void)s;
	if ((rc = fault(err)) < 0)
		return rc;
	w->ticks++;
	if (ts > w->tick) {
		w->tick = ts;
		w->window++;
	}
	return fault(err);
}

static void flush(struct sink *s, const struct entry *e)
{
	(void)s;
	(void)e;
	sink_memory_world->flushes++;
}

const struct sink_ops sink_memory = {.name = "memory",
				     .open = open_,
				     .close = close_,
				     .restore = restore,
				     .write = write_,
				     .ddl = ddl,
				     .tick = tick,
				     .flush = flush};
