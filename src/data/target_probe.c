/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at a target before a task is made for it: is it a Milvus, does it let us in, which door for
 * rows does it have, and does it hold the source's own collections (R31). Writes nothing: the
 * ReplicateMessage it sends has no messages, which every Milvus refuses after it has said whether
 * it would take some. No call outlasts connect_timeout_ms.
 */
#include "milvus_priv.h"

#include <cdc/sink.h>
#include <cdc/worker.h>

#include <stdio.h>

#define PROBE_CHANNEL "milvus-cdc-probe"
#define PROBE_OBJECTS 50
#define PROBE_LIST_MS 5000 /* listing ends after this, with what it has */

/* What a ReplicateMessage without messages is answered tells the doors apart. */
static int probe_door(struct milvus *m, bool *ret, struct err *err)
{
	struct milvus_status st = {0};
	int rc = milvus_replicate(m, PROBE_CHANNEL, 0, 0, NULL, 0, &st, err);

	if (rc == 0 || st.code == 65535) {
		*ret = rc == 0 || strstr(st.reason, "empty msgs");
		if (*ret)
			return 0;
	}
	if (st.code == 1900) {
		*ret = false;
		return 0;
	}
	if (rc == -ERR_TARGET_REFUSED) { /* a Milvus, but none that we know how to write to */
		if (err)
			err->code = ERR_TARGET_BAD;
		return -ERR_TARGET_BAD;
	}
	return rc;
}

/* All the names, IDs and creation times that fit; a database that goes away meanwhile is left out. */
static int probe_objects(struct milvus *m, struct arena *arena, struct target_info *info, struct err *err)
{
	AUTO(arena_free) struct arena *tmp = arena_new();
	int64_t end = clock_mono_ms() + PROBE_LIST_MS;
	Mv__ListDatabasesResponse *dbs;
	int rc;

	if ((rc = milvus_list_databases(m, tmp, &dbs, err)) < 0)
		return rc;
	info->objects = arena_alloc(arena, PROBE_OBJECTS * sizeof(*info->objects));
	for (size_t i = 0; i < dbs->n_db_names && info->object_count < PROBE_OBJECTS && clock_mono_ms() < end;
	     i++) {
		Mv__ShowCollectionsResponse *list;

		rc = milvus_show_collections(m, dbs->db_names[i], tmp, &list, err);
		if (rc == -ERR_TARGET_REFUSED)
			continue;
		if (rc < 0)
			return rc;
		for (size_t k = 0; k < list->n_collection_names && info->object_count < PROBE_OBJECTS; k++) {
			struct target_object *o = &info->objects[info->object_count];

			if (k >= list->n_collection_ids || k >= list->n_created_timestamps)
				break;
			o->id = list->collection_ids[k];
			o->created = list->created_timestamps[k];
			snprintf(o->db, sizeof(o->db), "%s", dbs->db_names[i]);
			snprintf(o->name, sizeof(o->name), "%s", list->collection_names[k]);
			info->object_count++;
		}
	}
	return 0;
}

/*
 * The commonest slip is the port of the etcd beside Milvus. It refuses a call that it does not know
 * before the call's body has arrived, and libcurl then loses the refusal ("stream error"): so it is
 * asked for something that it does know.
 */
static bool is_etcd(struct milvus *m)
{
	struct err ignored;
	int status = -1;

	return grpc_call(m->grpc, "/etcdserverpb.Maintenance/Status", NULL, 0, m->timeout_ms / 2, &m->reply,
			 &status, &ignored) >= 0 &&
	       status == 0;
}

/* The files of dial_config, before a handshake fails on them. */
static int check_files(const struct target_conf *t, struct err *err)
{
	static const char *const keys[] = {"", "ca_pem_path", "client_pem_path", "client_key_path"};
	char why[512];
	enum conf_tls_part part = t->tls.enable ? conf_tls_check(&t->tls, why, sizeof(why)) : CONF_TLS_OK;

	if (part == CONF_TLS_OK)
		return 0;
	return err_set(err, ERR_INVALID, "milvus_connect_param.dial_config.%s: %s", keys[part], why);
}

int target_probe(const struct target_conf *t, struct arena *arena, struct target_info *ret, struct err *err)
{
	AUTO(milvus_free)
	struct milvus *m = milvus_new_foreign(t, t->connect_timeout_ms, ERR_TARGET_BAD, NULL, NULL);
	struct target_info info = {0};
	int64_t start = clock_mono_ms();
	int rc;

	if ((rc = check_files(t, err)) < 0)
		return rc;
	rc = milvus_version(m, info.version, sizeof(info.version), err);
	if (rc == -ERR_TARGET_LOST && clock_mono_ms() - start < t->connect_timeout_ms / 2 && is_etcd(m))
		return err_set(err, ERR_TARGET_BAD,
			       "target %s: this is an etcd, not a Milvus; check the port (Milvus: 19530)",
			       m->address);
	if (rc < 0 || (rc = milvus_connect(m, err)) < 0 || (rc = probe_door(m, &info.replicate, err)) < 0 ||
	    (rc = probe_objects(m, arena, &info, err)) < 0)
		return rc;
	*ret = info;
	return 0;
}
