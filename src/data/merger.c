/* SPDX-License-Identifier: Apache-2.0 */
/* See merger.h. */
#include "merger.h"

#include <cdc/mem.h>

#include <stdlib.h>

void merger_init(struct merger *m)
{
	*m = (struct merger){0};
}

void merger_done(struct merger *m)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->channels[i].used)
			cutter_done(&m->channels[i].cutter);
	free(m->channels);
	free(m->order);
	*m = (struct merger){0};
}

int merger_find(const struct merger *m, const char *pchannel)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->channels[i].used && STREQ(m->channels[i].cutter.pchannel, pchannel))
			return (int)i;
	return -1;
}

int merger_join(struct merger *m, const struct position *pos, bool ticking)
{
	int i = merger_find(m, pos->pchannel);

	if (i >= 0)
		return i;
	for (i = 0; i < (int)m->count && m->channels[i].used; i++)
		;
	if (i == (int)m->count) {
		if (m->count == MERGER_MAX)
			return -1;
		m->channels = xrealloc(m->channels, (m->count + 1) * sizeof(*m->channels));
		m->count++;
	}
	m->channels[i] = (struct channel){.used = true};
	cutter_init(&m->channels[i].cutter, pos, ticking);
	return i;
}

void merger_leave(struct merger *m, int index)
{
	cutter_done(&m->channels[index].cutter);
	m->channels[index].used = false;
}

static bool counts(const struct channel *ch)
{
	return ch->used && ch->cutter.ticking && !ch->closed;
}

cdc_ts merger_watermark(const struct merger *m)
{
	cdc_ts low = 0;
	bool any = false;

	for (size_t i = 0; i < m->count; i++) {
		if (!counts(&m->channels[i]))
			continue;
		if (!any || m->channels[i].cutter.tick < low)
			low = m->channels[i].cutter.tick;
		any = true;
	}
	return low;
}

size_t merger_live(const struct merger *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->count; i++)
		n += counts(&m->channels[i]);
	return n;
}

size_t merger_bytes(const struct merger *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->count; i++)
		n += m->channels[i].used ? m->channels[i].cutter.bytes : 0;
	return n;
}

bool merger_has(const struct merger *m, cdc_ts ts)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct channel *ch = &m->channels[i];

		for (size_t k = 0; ch->used && k < ch->cutter.kept_count; k++)
			if (ch->cutter.kept[k].ts <= ts)
				return true;
	}
	return false;
}

static int rank(enum kind k)
{
	return k == KIND_DELETE ? 0 : k == KIND_INSERT ? 1 : 2;
}

static int by_total_key(const void *pa, const void *pb, void *arg)
{
	const struct record *a = *(const struct record *const *)pa, *b = *(const struct record *const *)pb;
	const struct merger *m = arg;
	int c;

	if (a->ts != b->ts)
		return a->ts < b->ts ? -1 : 1;
	if ((c = rank(a->kind) - rank(b->kind)) != 0)
		return c;
	/* by name, not by slot: slots differ from run to run (R12) */
	if (a->pchannel != b->pchannel && (c = strcmp(m->channels[a->pchannel].cutter.pchannel,
						      m->channels[b->pchannel].cutter.pchannel)) != 0)
		return c;
	return mq_id_cmp(a->id, b->id);
}

static size_t gather(struct merger *m, cdc_ts watermark)
{
	size_t n = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct cutter *c = &m->channels[i].cutter;

		if (!m->channels[i].used)
			continue;
		if (n + c->kept_count > m->order_cap) {
			m->order_cap = (n + c->kept_count) * 2;
			m->order = xrealloc(m->order, m->order_cap * sizeof(*m->order));
		}
		for (size_t k = 0; k < c->kept_count; k++) {
			c->kept[k].pchannel = (int)i;
			if (c->kept[k].ts <= watermark)
				m->order[n++] = &c->kept[k];
		}
	}
	return n;
}

/* Is order[i] a producer's retry of a record just before it? They share timestamp and kind. */
static bool is_retry(const struct record *const *order, size_t kept, const struct record *r)
{
	if (!r->msg_id || (r->kind != KIND_INSERT && r->kind != KIND_DELETE))
		return false;
	while (kept-- > 0 && order[kept]->ts == r->ts)
		if (order[kept]->msg_id == r->msg_id && order[kept]->kind == r->kind &&
		    order[kept]->pchannel == r->pchannel)
			return true;
	return false;
}

size_t merger_collect(struct merger *m, cdc_ts *watermark, size_t max_bytes, const struct record *const **ret,
		      size_t *dups)
{
	size_t n = gather(m, *watermark), kept = 0, bytes = 0;

	*dups = 0;
	if (n)
		qsort_r(m->order, n, sizeof(*m->order), by_total_key, m);
	for (size_t i = 0; i < n; i++) {
		const struct record *r = m->order[i];

		if (bytes > 0 && bytes + r->size > max_bytes && r->ts > m->order[i - 1]->ts) {
			*watermark = m->order[i - 1]->ts;
			break;
		}
		bytes += r->size;
		if (is_retry(m->order, kept, r))
			(*dups)++;
		else
			m->order[kept++] = r;
	}
	*ret = m->order;
	return kept;
}

void merger_cut(struct merger *m, cdc_ts watermark)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->channels[i].used)
			cutter_cut(&m->channels[i].cutter, watermark);
}

bool merger_should_pause(const struct merger *m, int index, size_t limit)
{
	const struct channel *ch = &m->channels[index];
	size_t all = merger_bytes(m);

	if (!ch->cutter.ticking)
		return ch->cutter.bytes > limit;
	if (ch->cutter.tick <= merger_watermark(m) || ch->closed)
		return false; /* the laggard is never paused */
	if (ch->paused)
		return all > limit / 2; /* hysteresis */
	return all > limit && ch->cutter.bytes > 0;
}
