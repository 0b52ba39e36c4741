/* SPDX-License-Identifier: Apache-2.0 */
/* See cutter.h. */
#include "cutter.h"

#include <cdc/mem.h>

#include <stdlib.h>

void cutter_init(struct cutter *c, const struct position *pos, bool ticking)
{
	*c = (struct cutter){.ticking = ticking, .tick = pos->ts, .low = pos->ts, .at = *pos};
	memcpy(c->pchannel, pos->pchannel, sizeof(c->pchannel));
}

void cutter_forget(struct cutter *c)
{
	for (size_t i = 0; i < c->kept_count; i++)
		record_release(&c->kept[i]);
	free(c->kept);
	c->kept = NULL;
	c->kept_count = c->kept_cap = c->bytes = 0;
}

void cutter_done(struct cutter *c)
{
	cutter_forget(c);
	*c = (struct cutter){0};
}

/* The last message read, to recognise a topic that was deleted and made again (R11). */
static void remember_guard(struct cutter *c, const struct record *r)
{
	c->at.guard.set = true;
	c->at.guard.id = r->id;
	c->at.guard.time_ms = r->time_ms;
	c->at.guard.hash = hash64(0, r->body, r->size);
}

void cutter_feed(struct cutter *c, struct record *r)
{
	bool keep = true;

	if (r->kind == KIND_TICK) {
		if (r->ts > c->tick) {
			c->tick = r->ts;
			c->tick_id = r->id;
		}
		/* ticks are small, frequent and never kept: the cheapest guard there is */
		remember_guard(c, r);
		keep = false;
	} else if (r->ts <= c->low && c->ticking) {
		c->discarded++;
		keep = false;
	} else if (r->kind == KIND_OTHER || r->kind == KIND_CREATE_COLLECTION) {
		keep = false;
	}
	if (!c->ticking)
		remember_guard(c, r);
	c->at.next = (struct mq_id){r->id.hi, r->id.lo + 1};
	if (!keep) {
		record_release(r);
		return;
	}
	/* no tick says what is behind: its order is that of the log, so the position parts it cleanly (R1) */
	if (!c->ticking && c->kept_count && r->ts < c->kept[c->kept_count - 1].ts)
		r->ts = c->kept[c->kept_count - 1].ts;
	if (c->kept_count == c->kept_cap) {
		c->kept_cap = c->kept_cap ? c->kept_cap * 2 : 64;
		c->kept = xrealloc(c->kept, c->kept_cap * sizeof(*c->kept));
	}
	c->kept[c->kept_count++] = *r;
	c->bytes += r->size;
}

void cutter_cut(struct cutter *c, cdc_ts watermark)
{
	size_t n = 0;

	for (size_t i = 0; i < c->kept_count; i++) {
		if (c->kept[i].ts > watermark) {
			c->kept[n++] = c->kept[i];
			continue;
		}
		c->bytes -= c->kept[i].size;
		record_release(&c->kept[i]);
	}
	c->kept_count = n;
	if (watermark > c->low)
		c->low = watermark;
	if (c->kept_cap > 4096 && n < c->kept_cap / 8) { /* give a burst's memory back */
		c->kept_cap = n > 64 ? n * 2 : 64;
		c->kept = xrealloc(c->kept, c->kept_cap * sizeof(*c->kept));
	}
}

void cutter_position(const struct cutter *c, cdc_ts watermark, struct position *ret)
{
	*ret = c->at;
	ret->ts = watermark;
	if (c->ticking && c->tick > watermark) /* else a source that is silent from now on never gets cut */
		ret->next = c->tick_id;
	for (size_t i = 0; i < c->kept_count; i++)
		if (c->kept[i].ts > watermark) {
			if (mq_id_cmp(c->kept[i].id, ret->next) < 0)
				ret->next = c->kept[i].id;
			break;
		}
}
