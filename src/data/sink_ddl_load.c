/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load state onto the target. What the source has loaded, the whole collection or some partitions, is
 * remembered in the map: steps that must release on the way come back to it, also after a crash between
 * the two (R25). The whole includes partitions that are made later, so it is never told in partitions.
 */
#include "sink_ddl_priv.h"

#include <inttypes.h>

enum { STATE_MISSING, STATE_NOT_LOADED, STATE_LOADING, STATE_LOADED };
#define CODE_NO_INDEX 700

/* Names on the target, of partitions that are there. */
struct part_names {
	const char **names;
	size_t count;
};

static void add_name(struct part_names *p, const struct partition_pair *pair)
{
	if (pair && !pair->dropped)
		p->names[p->count++] = pair->name;
}

/* Of the partitions with these source IDs; those that are dropped or not mapped are left out. */
static struct part_names names_of(struct ddl *d, const int64_t *ids, size_t n)
{
	struct part_names p = {.names = arena_alloc(d->arena, (n + 1) * sizeof(char *))};

	for (size_t i = 0; i < n; i++)
		add_name(&p, target_partition(d->twin, ids[i]));
	return p;
}

static struct part_names all_names(struct ddl *d)
{
	struct part_names p = {
		.names = arena_alloc(d->arena, (d->twin->partition_count + 1) * sizeof(char *))};

	for (size_t i = 0; i < d->twin->partition_count; i++)
		add_name(&p, &d->twin->partitions[i]);
	return p;
}

static int state_of(struct ddl *d, const struct part_names *p, int *ret, struct err *err)
{
	return milvus_load_state(d->milvus, d->twin->db, d->twin->name, p ? p->names : NULL, p ? p->count : 0,
				 ret, err);
}

static int call_load(struct ddl *d, const struct part_names *p, int replicas, struct milvus_status *st,
		     struct err *err)
{
	const struct target_collection *c = d->twin;

	if (p)
		return milvus_load_partitions(d->milvus, c->db, c->name, p->names, p->count, replicas, d->ts,
					      st, err);
	return milvus_load(d->milvus, c->db, c->name, replicas, d->ts, st, err);
}

/* The whole (NULL) or partitions. The target may have fewer query nodes than the source: then one
 * replica has to do. */
static int load(struct ddl *d, const struct part_names *p, int *replicas, struct milvus_status *st,
		struct err *err)
{
	struct err first;
	int wanted = *replicas > 0 ? *replicas : 1;
	int rc = call_load(d, p, wanted, st, &first);

	*replicas = wanted;
	if (rc == -ERR_TARGET_REFUSED && wanted > 1 && st->code != CODE_NO_INDEX) {
		rc = call_load(d, p, 1, st, err);
		if (rc == 0) {
			*replicas = 1;
			ddl_note(d,
				 "collection %s.%s has %d replicas at the source and one on the target: %s",
				 d->twin->db, d->twin->name, wanted, first.text);
		}
		return rc;
	}
	if (rc < 0 && err)
		*err = first;
	return rc;
}

int ddl_unload(struct ddl *d, bool *was_loaded, struct err *err)
{
	int state, rc;

	if ((rc = state_of(d, NULL, &state, err)) < 0)
		return rc;
	*was_loaded = state >= STATE_LOADING;
	if (!*was_loaded)
		return 0;
	return milvus_release(d->milvus, d->twin->db, d->twin->name, d->ts, NULL, err);
}

int ddl_reload(struct ddl *d, bool was_loaded, struct err *err)
{
	const struct target_collection *c = d->twin;
	struct part_names parts = names_of(d, c->loaded_partitions, c->loaded_partition_count);
	bool by_parts = !c->loaded && parts.count > 0;
	struct milvus_status st;
	int state, rc, replicas = c->replicas;

	if (!was_loaded && !c->loaded && !by_parts)
		return 0;
	if ((rc = state_of(d, by_parts ? &parts : NULL, &state, err)) < 0)
		return rc;
	if (state != STATE_NOT_LOADED)
		return 0;
	rc = load(d, by_parts ? &parts : NULL, &replicas, &st, err);
	if (rc == -ERR_TARGET_REFUSED && st.code == CODE_NO_INDEX) {
		if (!c->loaded && !by_parts)
			ddl_note(d, "collection %s.%s, loaded on the target only, stays released: %s", c->db,
				 c->name, st.reason);
		return 0;
	}
	return rc;
}

/*
 * What is loaded whole at the source loads its new partitions by itself; the target does not if it was asked
 * for partitions before it was asked for the whole, which leaves it loaded by partitions.
 */
int ddl_load_partition(struct ddl *d, const char *name, struct err *err)
{
	struct part_names one = {.names = &name, .count = 1}, all = all_names(d);
	struct milvus_status st;
	int state, rc, replicas = d->twin->replicas;

	if ((rc = state_of(d, &all, &state, err)) < 0 || state < STATE_LOADING)
		return rc; /* released there, by hand or for an index that is to come: ddl_reload */
	if ((rc = state_of(d, &one, &state, err)) < 0 || state >= STATE_LOADING)
		return rc;
	return load(d, &one, &replicas, &st, err);
}

int ddl_release_partition(struct ddl *d, const char *name, bool *was_loaded, struct err *err)
{
	struct part_names one = {.names = &name, .count = 1};
	int state, rc;

	if ((rc = state_of(d, &one, &state, err)) < 0)
		return rc;
	*was_loaded = state >= STATE_LOADING;
	if (!*was_loaded)
		return 0;
	return milvus_release_partitions(d->milvus, d->twin->db, d->twin->name, one.names, 1, d->ts, NULL,
					 err);
}

static int replicas_of(const struct ddl *d)
{
	return d->body->load && d->body->load->replica_number > 0 ? d->body->load->replica_number : 1;
}

/* Code 700, no index, is definite: the journal has CREATE_INDEX before LOAD. */
int ddl_load(struct ddl *d, struct err *err)
{
	struct target_collection c = *d->twin;
	struct part_names all = all_names(d);
	struct milvus_status st;
	int state, rc;

	/* the collection's own state says loaded as soon as one partition is */
	if ((rc = ddl_need(d, err)) < 0 || (rc = state_of(d, &all, &state, err)) < 0)
		return rc;
	c.replicas = replicas_of(d);
	if (state < STATE_LOADING && (rc = load(d, NULL, &c.replicas, &st, err)) < 0)
		return rc;
	c.loaded = true;
	c.loaded_partition_count = 0;
	ddl_keep(d, &c);
	return 0;
}

int ddl_release(struct ddl *d, struct err *err)
{
	struct target_collection c = *d->twin;
	enum ddl_found found;
	bool was_loaded;
	int rc;

	if ((rc = ddl_find(d, &found, err)) < 0 ||
	    (found == DDL_OURS && (rc = ddl_unload(d, &was_loaded, err)) < 0))
		return rc;
	c.loaded = false;
	c.loaded_partition_count = 0;
	ddl_keep(d, &c);
	return 0;
}

/* --- partitions ---------------------------------------------------------------------------------- */

static bool has(const int64_t *ids, size_t n, int64_t id)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* The source IDs that the entry names. */
static int64_t *entry_ids(struct ddl *d, size_t *n)
{
	int64_t *ids = arena_alloc(d->arena, (d->body->n_partitions + 1) * sizeof(*ids));

	for (*n = 0; *n < d->body->n_partitions; (*n)++)
		ids[*n] = d->body->partitions[*n]->partition_id;
	return ids;
}

int ddl_load_partitions(struct ddl *d, struct err *err)
{
	struct target_collection c = *d->twin;
	size_t n, count = c.loaded_partition_count;
	int64_t *ids = entry_ids(d, &n), *loaded;
	struct part_names parts = names_of(d, ids, n);
	struct milvus_status st;
	int state, rc;

	if (c.loaded || parts.count == 0)
		return 0;
	if ((rc = ddl_need(d, err)) < 0 || (rc = state_of(d, &parts, &state, err)) < 0)
		return rc;
	c.replicas = replicas_of(d);
	if (state < STATE_LOADING && (rc = load(d, &parts, &c.replicas, &st, err)) < 0)
		return rc;
	loaded = arena_alloc(d->arena, (count + n + 1) * sizeof(*loaded));
	if (count)
		memcpy(loaded, c.loaded_partitions, count * sizeof(*loaded));
	for (size_t i = 0; i < n; i++)
		if (!has(loaded, count, ids[i]))
			loaded[count++] = ids[i];
	c.loaded_partitions = loaded;
	c.loaded_partition_count = count;
	ddl_keep(d, &c);
	return 0;
}

/* What stays loaded at the source when these are released: of the whole, all others. */
static void without(struct ddl *d, struct target_collection *c, const int64_t *ids, size_t n)
{
	size_t total = c->loaded ? c->partition_count : c->loaded_partition_count;
	int64_t *left = arena_alloc(d->arena, (total + 1) * sizeof(*left));
	size_t count = 0;

	for (size_t i = 0; i < total; i++) {
		int64_t id = c->loaded ? c->partitions[i].source_id : c->loaded_partitions[i];

		if (!has(ids, n, id) && !(c->loaded && c->partitions[i].dropped))
			left[count++] = id;
	}
	c->loaded = false;
	c->loaded_partitions = left;
	c->loaded_partition_count = count;
}

int ddl_release_partitions(struct ddl *d, struct err *err)
{
	struct target_collection c = *d->twin;
	enum ddl_found found;
	size_t n;
	int64_t *ids = entry_ids(d, &n);
	struct part_names parts = names_of(d, ids, n);
	bool was_loaded;
	int rc;

	if ((rc = ddl_find(d, &found, err)) < 0)
		return rc;
	for (size_t i = 0; found == DDL_OURS && i < parts.count; i++)
		if ((rc = ddl_release_partition(d, parts.names[i], &was_loaded, err)) < 0)
			return rc;
	without(d, &c, ids, n);
	ddl_keep(d, &c);
	return 0;
}
