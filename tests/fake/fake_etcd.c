/* SPDX-License-Identifier: Apache-2.0 */
/* An etcd in memory; see fake_etcd.h. */
#include "fake_etcd.h"

#include <cdc/model.h>

#include <stdlib.h>

struct fake_kv {
	struct fake_kv *next; /* in its bucket */
	char *key;
	uint8_t *value;
	size_t size;
	int64_t create_revision, mod_revision;
};

struct fake_etcd *fake_etcd_new(void)
{
	struct fake_etcd *e = xcalloc(1, sizeof(*e));

	e->cluster_id = 77;
	e->revision = 1;
	return e;
}

static void kv_free(struct fake_kv *kv)
{
	free(kv->key);
	free(kv->value);
	free(kv);
}

void fake_etcd_free(struct fake_etcd *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->count; i++)
		kv_free(e->kvs[i]);
	free(e->kvs);
	free(e);
}

static struct fake_kv **find(const struct fake_etcd *e, const char *key)
{
	size_t i = hash64(0, key, strlen(key)) % ARRAY_LEN(e->buckets);
	struct fake_kv **p = (struct fake_kv **)&e->buckets[i];

	while (*p && !STREQ((*p)->key, key))
		p = &(*p)->next;
	return p;
}

void fake_etcd_put(struct fake_etcd *e, const char *key, const void *value, size_t n)
{
	struct fake_kv **p = find(e, key), *kv = *p;

	e->revision++;
	if (!kv) {
		kv = *p = xcalloc(1, sizeof(*kv));
		kv->key = xstrdup(key);
		kv->create_revision = e->revision;
		if (e->count == e->cap) {
			e->cap = e->cap * 2 + 64;
			e->kvs = xrealloc(e->kvs, e->cap * sizeof(struct fake_kv *));
		}
		e->kvs[e->count++] = kv;
		e->dirty = true;
	}
	free(kv->value);
	kv->value = xmemdup(value, n);
	kv->size = n;
	kv->mod_revision = e->revision;
}

void fake_etcd_del(struct fake_etcd *e, const char *key)
{
	struct fake_kv **p = find(e, key), *kv = *p;
	size_t n = 0;

	if (!kv)
		return;
	e->revision++;
	*p = kv->next;
	for (size_t i = 0; i < e->count; i++)
		if (e->kvs[i] != kv)
			e->kvs[n++] = e->kvs[i];
	e->count = n;
	kv_free(kv);
}

void fake_etcd_tombstone(struct fake_etcd *e, const char *key)
{
	fake_etcd_put(e, key, "\xe2\x9b\xbc", 3);
}

const void *fake_etcd_get(const struct fake_etcd *e, const char *key, size_t *n)
{
	const struct fake_kv *kv = *find(e, key);

	if (kv)
		*n = kv->size;
	return kv ? kv->value : NULL;
}

void fake_etcd_count_reset(struct fake_etcd *e)
{
	e->reads = 0;
	e->ranges = e->keys_returned = e->most_ranges = 0;
}

static int kv_cmp(const void *a, const void *b)
{
	return strcmp((*(struct fake_kv *const *)a)->key, (*(struct fake_kv *const *)b)->key);
}

/* First key >= key. */
static size_t lower_bound(const struct fake_etcd *e, const char *key)
{
	size_t lo = 0, hi = e->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (strcmp(e->kvs[mid]->key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void read_range(struct fake_etcd *e, struct etcd_range *r, struct arena *arena)
{
	size_t first = lower_bound(e, r->key), n = 0, len = strlen(r->key);

	for (size_t i = first; i < e->count; i++, n++)
		if (r->prefix ? strncmp(e->kvs[i]->key, r->key, len) != 0 : !STREQ(e->kvs[i]->key, r->key))
			break;
	r->total = (int64_t)n;
	r->kv_count = 0;
	for (size_t i = first; i < first + n; i++)
		r->kv_count += e->kvs[i]->mod_revision >= r->min_mod_revision;
	r->kvs = arena_alloc(arena, (r->kv_count + 1) * sizeof(*r->kvs));
	r->kv_count = 0;
	for (size_t i = first; i < first + n; i++) {
		const struct fake_kv *kv = e->kvs[i];

		if (kv->mod_revision < r->min_mod_revision)
			continue;
		r->kvs[r->kv_count++] =
			(struct etcd_kv){.key = arena_strdup(arena, kv->key),
					 .value = r->keys_only ? NULL : arena_dup(arena, kv->value, kv->size),
					 .size = r->keys_only ? 0 : kv->size,
					 .create_revision = kv->create_revision,
					 .mod_revision = kv->mod_revision};
	}
	e->keys_returned += r->kv_count;
}

int fake_etcd_read(struct fake_etcd *e, struct etcd_range *ranges, size_t n, struct arena *arena,
		   struct etcd_answer *ret, struct err *err)
{
	if (e->before_read)
		e->before_read(e->before_arg, e->reads);
	e->reads++;
	e->ranges += n;
	if (n > e->most_ranges)
		e->most_ranges = n;
	if (e->fail_at && --e->fail_at == 0)
		return err_set(err, e->fail_code, "fake etcd: told to fail");
	if (e->dirty && e->count)
		qsort(e->kvs, e->count, sizeof(struct fake_kv *), kv_cmp);
	e->dirty = false;
	for (size_t i = 0; i < n; i++)
		read_range(e, &ranges[i], arena);
	*ret = (struct etcd_answer){.cluster_id = e->cluster_id, .revision = e->revision};
	return 0;
}
