/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An etcd in memory with the contract of etcd_read() (cdc/wire.h): revisions, values, real deletes,
 * tombstones, min_mod_revision, totals, failures. One thread.
 *
 * The names of the real thing are defined only in a program that says FAKE_ETCD_REPLACES_ETCD
 * before it includes this header (in one file): that file then has etcd_new(), etcd_free() and
 * etcd_read(), so the linker does not take the real ones out of the archive. etcd_new() answers
 * fake_etcd_shared, which the test sets; a test may also cast a struct fake_etcd to struct etcd.
 */
#ifndef FAKE_ETCD_H
#define FAKE_ETCD_H

#include <cdc/wire.h>

struct fake_etcd {
	uint64_t cluster_id;
	int64_t revision;
	struct fake_kv **kvs; /* sorted by key unless dirty */
	size_t count, cap;
	bool dirty;
	struct fake_kv *buckets[1 << 14];

	/* behaviour */
	int fail_at;                           /* the Nth read from now fails (1: the next one); 0: none */
	int fail_code;                         /* with this ERR_* */
	void (*before_read)(void *arg, int n); /* n: reads so far; may change the store */
	void *before_arg;

	/* what was asked, since the last fake_etcd_count_reset() */
	int reads;
	size_t ranges, keys_returned;
	size_t most_ranges; /* of one read */
};

struct fake_etcd *fake_etcd_new(void); /* cluster 77, revision 1 */
void fake_etcd_free(struct fake_etcd *e);
/* Each is one revision. */
void fake_etcd_put(struct fake_etcd *e, const char *key, const void *value, size_t n);
void fake_etcd_del(struct fake_etcd *e, const char *key);
void fake_etcd_tombstone(struct fake_etcd *e, const char *key); /* as Milvus 2.2 to 2.5 delete */
const void *fake_etcd_get(const struct fake_etcd *e, const char *key, size_t *n); /* NULL: none */
void fake_etcd_count_reset(struct fake_etcd *e);
int fake_etcd_read(struct fake_etcd *e, struct etcd_range *ranges, size_t n, struct arena *arena,
		   struct etcd_answer *ret, struct err *err);

#ifdef FAKE_ETCD_REPLACES_ETCD
static struct fake_etcd *fake_etcd_shared;

struct etcd *etcd_new(const struct conf_etcd *conf, bool (*poll)(void *arg), void *poll_arg)
{
	(void)conf;
	(void)poll;
	(void)poll_arg;
	return (struct etcd *)(void *)fake_etcd_shared;
}

void etcd_free(struct etcd *e)
{
	(void)e; /* the test's */
}

int etcd_read(struct etcd *e, struct etcd_range *ranges, size_t n, int deadline_ms, struct arena *arena,
	      struct etcd_answer *ret, struct err *err)
{
	(void)deadline_ms;
	return fake_etcd_read((struct fake_etcd *)(void *)e, ranges, n, arena, ret, err);
}
#endif

#endif
