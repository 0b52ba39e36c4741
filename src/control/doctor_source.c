/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor and the source's etcd: is it there, does it let us in, is our Milvus in it. */
#include "doctor_priv.h"

#include "milvus.pb-c.h"

#include <cdc/worker.h>

#include <stdlib.h>

#define COLLECTION_CREATED 0
#define PCHANNELS_MAX 4096

enum { DATABASES, COLLECTIONS, CLOCK, RANGES };

/* Is the default database there? Counts all. */
static bool has_default(struct doctor *d, const struct etcd_range *r, size_t *count)
{
	struct arena_pb pb = arena_pb(d->arena);
	bool found = false;

	for (size_t i = 0; i < r->kv_count; i++) {
		const Mv__DatabaseInfo *db =
			mv__database_info__unpack((ProtobufCAllocator *)&pb, r->kvs[i].size, r->kvs[i].value);

		*count += db && db->name && *db->name;
		found |= db && db->name && STREQ(db->name, "default");
	}
	return found;
}

static void add_pchannel(struct doctor *d, const char *name)
{
	for (size_t i = 0; i < d->pchannel_count; i++)
		if (STREQ(d->pchannels[i], name))
			return;
	if (!d->pchannels)
		d->pchannels = arena_alloc(d->arena, PCHANNELS_MAX * sizeof(*d->pchannels));
	if (d->pchannel_count < PCHANNELS_MAX)
		d->pchannels[d->pchannel_count++] = name;
}

static size_t read_collections(struct doctor *d, const struct etcd_range *r)
{
	struct arena_pb pb = arena_pb(d->arena);
	size_t n = 0;

	for (size_t i = 0; i < r->kv_count; i++) {
		const Mv__CollectionInfo *c = mv__collection_info__unpack((ProtobufCAllocator *)&pb,
									  r->kvs[i].size, r->kvs[i].value);

		if (!c || c->state != COLLECTION_CREATED)
			continue;
		n++;
		for (size_t k = 0; k < c->n_physical_channel_names; k++)
			add_pchannel(d, c->physical_channel_names[k]);
	}
	return n;
}

/* 8 bytes, the high one first: ns since 1970. A little ahead of what has been given out. */
static int64_t read_clock(const struct etcd_range *r)
{
	uint64_t ns = 0;

	if (r->kv_count != 1 || r->kvs[0].size != 8)
		return 0;
	for (int i = 0; i < 8; i++)
		ns = ns << 8 | r->kvs[0].value[i];
	return (int64_t)(ns / 1000000);
}

static void check_metadata(struct doctor *d, struct etcd_range ranges[RANGES])
{
	const struct conf_etcd *e = &d->conf->source.etcd;
	size_t dbs = 0, collections;

	if (!has_default(d, &ranges[DATABASES], &dbs)) {
		doctor_say(d, FAIL, "etcd metadata",
			   "set sourceConfig.etcd.rootPath and metaSubPath to etcd.rootPath and "
			   "etcd.metaSubPath of the source's milvus.yaml",
			   "no default database below %s/%s: this is not where the source keeps its metadata",
			   e->root_path, e->meta_sub_path);
		return;
	}
	collections = read_collections(d, &ranges[COLLECTIONS]);
	d->etcd_clock_ms = read_clock(&ranges[CLOCK]);
	doctor_say(d, OK, "etcd metadata", "", "%s/%s: %zu database%s, %zu collection%s on %zu pchannel%s",
		   e->root_path, e->meta_sub_path, dbs, dbs == 1 ? "" : "s", collections,
		   collections == 1 ? "" : "s", d->pchannel_count, d->pchannel_count == 1 ? "" : "s");
}

static void check_dates(struct doctor *d)
{
	const struct conf_etcd *e = &d->conf->source.etcd;

	for (size_t i = 0; e->address[i]; i++) {
		AUTO_FREE char *host = NULL;
		struct conf_tls t = e->tls;
		bool tls = false;
		int port = 0;

		if (wire_parse_address(e->address[i], &host, &port, &tls, NULL) < 0 ||
		    !(tls || e->tls.enable))
			continue;
		if (i)
			t.cert_path = NULL; /* told once */
		doctor_tls(d, "etcd", &t, host, port);
	}
}

void doctor_etcd(struct doctor *d)
{
	const struct conf_etcd *e = &d->conf->source.etcd;
	struct etcd_range ranges[RANGES] = {
		[DATABASES] = {.key = arena_printf(d->arena, "%s/%s/root-coord/database/db-info/",
						   e->root_path, e->meta_sub_path),
			       .prefix = true},
		[COLLECTIONS] = {.key = arena_printf(d->arena, "%s/%s/root-coord/database/collection-info/",
						     e->root_path, e->meta_sub_path),
				 .prefix = true},
		[CLOCK] = {.key = arena_printf(d->arena, "%s/kv/gid/timestamp", e->root_path)},
	};
	struct etcd_answer answer;
	struct err err = {0};
	char version[64] = "";

	d->etcd = etcd_new(e, NULL, NULL);
	check_dates(d);
	if (etcd_read(d->etcd, ranges, RANGES, CHECK_MS, d->arena, &answer, &err) < 0) {
		doctor_say(d, FAIL, "etcd", "", "%s", err.text);
		return;
	}
	d->etcd_ok = true;
	if (etcd_version(d->etcd, CHECK_MS, version, sizeof(version), NULL) < 0)
		snprintf(version, sizeof(version), "of unknown version");
	doctor_say(d, OK, "etcd", "", "%s%s at %s%s%s", e->address[1] ? "several, " : "", version,
		   e->address[0], e->enable_auth ? ", logged in as " : "",
		   e->enable_auth && e->username ? e->username : "");
	check_metadata(d, ranges);
}
