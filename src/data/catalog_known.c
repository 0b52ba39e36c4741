/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journal was told (R14). A known state is never changed in place: known_set() puts a new
 * one and keeps the committed one until commit or rollback, so going back is putting that again.
 * What was replaced stays readable until the next fence, since rows and entries borrow its names.
 * Reader's thread.
 */
#include "catalog_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* --- making --- */

static uint8_t *pack(const void *msg, size_t *n)
{
	const ProtobufCMessage *m = msg;
	uint8_t *p;

	*n = protobuf_c_message_get_packed_size(m);
	p = xmalloc(*n);
	protobuf_c_message_pack(m, p);
	return p;
}

static struct pchan *pchan_get(struct catalog *c, const char *name)
{
	for (size_t i = 0; i < c->pchan_count; i++)
		if (STREQ(c->pchans[i]->name, name))
			return c->pchans[i];
	c->pchans = xrealloc(c->pchans, (c->pchan_count + 1) * sizeof(struct pchan *));
	c->pchans[c->pchan_count] = xcalloc(1, sizeof(struct pchan));
	c->pchans[c->pchan_count]->name = xstrdup(name);
	return c->pchans[c->pchan_count++];
}

static void known_pchans(struct catalog *c, struct known *k, const Mv__CollectionInfo *info)
{
	k->pchans = xcalloc(info->n_physical_channel_names, sizeof(struct pchan *));
	for (size_t i = 0; i < info->n_physical_channel_names; i++) {
		struct pchan *p = pchan_get(c, info->physical_channel_names[i]);
		bool have = false;

		for (size_t j = 0; j < k->pchan_count; j++)
			have |= k->pchans[j] == p;
		if (!have)
			k->pchans[k->pchan_count++] = p;
	}
}

struct known *known_new(struct catalog *c, const Jr__KnownCollection *msg)
{
	struct known *k = xcalloc(1, sizeof(*k));
	const Jr__Ddl *ddl = msg->ddl;
	const Mv__CollectionInfo *info = ddl ? ddl->collection : NULL;

	k->state = msg->skipped ? KNOWN_SKIPPED : msg->dropped ? KNOWN_DROPPED : KNOWN_LIVE;
	k->db_id = ddl ? ddl->db_id : 0;
	k->db = xstrdup(ddl && ddl->db_name ? ddl->db_name : "");
	k->name = xstrdup(info && info->schema && info->schema->name ? info->schema->name : "");
	if (k->state == KNOWN_LIVE && info) {
		known_pchans(c, k, info);
		since_take(k, msg);
		k->live = xcalloc(ddl->n_partitions, sizeof(int64_t));
		for (size_t i = 0; i < ddl->n_partitions; i++)
			k->live[k->live_count++] = ddl->partitions[i]->partition_id;
		qsort(k->live, k->live_count, sizeof(int64_t), by_id);
		k->dropped = xcalloc(msg->n_dropped_partitions, sizeof(int64_t));
		for (size_t i = 0; i < msg->n_dropped_partitions; i++)
			k->dropped[k->dropped_count++] = msg->dropped_partitions[i];
		qsort(k->dropped, k->dropped_count, sizeof(int64_t), by_id);
	}
	k->row = pack(msg, &k->row_size);
	return k;
}

struct known_db *known_db_new(const Jr__KnownDatabase *msg)
{
	struct known_db *k = xcalloc(1, sizeof(*k));

	k->dropped = msg->dropped;
	k->name = xstrdup(msg->database && msg->database->name ? msg->database->name : "");
	k->row = pack(msg, &k->row_size);
	return k;
}

struct known *known_remains(struct catalog *c, struct arena *arena, bool dropped, int64_t db_id,
			    const char *db, int64_t id, const char *name)
{
	Jr__KnownCollection msg = JR__KNOWN_COLLECTION__INIT;

	msg.ddl = ddl_new(arena, db_id, db, id, name);
	msg.dropped = dropped;
	msg.skipped = !dropped;
	return known_new(c, &msg);
}

void known_free(struct known *k)
{
	if (!k)
		return;
	free(k->db);
	free(k->name);
	free(k->live);
	free(k->dropped);
	free(k->pchans);
	since_free(k);
	free(k->row);
	free(k);
}

void known_db_free(struct known_db *k)
{
	if (!k)
		return;
	free(k->name);
	free(k->row);
	free(k);
}

Jr__KnownCollection *known_unpack(const struct known *k, struct arena *arena)
{
	struct arena_pb pb = arena_pb(arena);

	return jr__known_collection__unpack((ProtobufCAllocator *)&pb, k->row_size, k->row);
}

void known_bury(struct catalog *c)
{
	struct known *next;

	for (; c->grave; c->grave = next) {
		next = c->grave->next;
		known_free(c->grave);
	}
	for (size_t i = 0; i < c->lost_count; i++)
		coll_free(c->lost[i]);
	c->lost_count = 0;
}

static void to_grave(struct catalog *c, struct known *k)
{
	if (!k)
		return;
	k->next = c->grave;
	c->grave = k;
}

/* --- changing --- */

/* Adds or takes away what a live collection means to its database, its name and its pchannels. */
static void account(struct catalog *c, struct coll *k, int by)
{
	struct db *d = db_get(c, k->known->db_id);

	d->live += by;
	if (!d->live)
		db_dirty(c, d); /* it may be waiting for that */
	for (size_t i = 0; i < k->known->pchan_count; i++) {
		k->known->pchans[i]->live += by;
		if (k->counted_ending)
			k->known->pchans[i]->ending += by;
	}
	if (by > 0)
		map_add(&c->names, &k->by_name, name_hash(k->known->db, k->known->name));
	else
		map_del(&c->names, &k->by_name);
	k->counted = by > 0;
	if (by < 0)
		k->counted_ending = false;
}

static void swap_known(struct catalog *c, struct coll *k, struct known *known)
{
	if (k->counted)
		account(c, k, -1);
	k->known = known;
	if (known && known->state == KNOWN_LIVE)
		account(c, k, 1);
	coll_refresh(c, k);
}

void known_set(struct catalog *c, struct coll *k, struct known *known)
{
	if (!k->touched) {
		k->touched = true;
		k->before = k->known;
		k->touched_next = c->touched;
		c->touched = k;
	} else {
		to_grave(c, k->known);
	}
	swap_known(c, k, known);
}

void known_db_set(struct catalog *c, struct db *d, struct known_db *known)
{
	if (!d->touched) {
		d->touched = true;
		d->before = d->known;
		d->touched_next = c->touched_dbs;
		c->touched_dbs = d;
	} else {
		known_db_free(d->known);
	}
	d->known = known;
}

void coll_leave(struct catalog *c, struct coll *k)
{
	if (k->known || k->aliases)
		return;
	for (size_t i = 0; i < ITEM_OF_COLLECTION; i++)
		if (k->items[i])
			return;
	map_del(&c->colls, &k->node);
	c->lost = xrealloc(c->lost, (c->lost_count + 1) * sizeof(struct coll *));
	c->lost[c->lost_count++] = k;
}

static void clean_dirty(struct catalog *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->dirty_count; i++) {
		struct coll *k = c->dirty[i];

		if (!k->planned || k->again) {
			c->dirty[n++] = k;
			continue;
		}
		k->dirty = k->hidden = false;
		coll_leave(c, k);
	}
	c->dirty_count = n;
	for (struct db **p = &c->dirty_dbs; *p;) {
		struct db *d = *p;

		if (d->planned && !d->again) {
			d->dirty = false;
			*p = d->dirty_next;
		} else {
			p = &d->dirty_next;
		}
	}
}

void catalog_commit(struct catalog *c)
{
	for (struct coll *k = c->touched; k; k = k->touched_next) {
		to_grave(c, k->before);
		k->before = NULL;
		k->touched = false;
		if (k->known) {
			free(k->schema);
			k->schema = NULL;
		}
	}
	c->touched = NULL;
	for (struct db *d = c->touched_dbs; d; d = d->touched_next) {
		known_db_free(d->before);
		d->before = NULL;
		d->touched = false;
	}
	c->touched_dbs = NULL;
	aliases_commit(c);
	if (c->source.set)
		c->source.stored = true;
	since_done(c);
	kept_commit(c);
	clean_dirty(c);
}

void catalog_rollback(struct catalog *c)
{
	for (struct coll *k = c->touched; k; k = k->touched_next) {
		to_grave(c, k->known);
		swap_known(c, k, k->before);
		k->before = NULL;
		k->touched = false;
	}
	c->touched = NULL;
	for (struct db *d = c->touched_dbs; d; d = d->touched_next) {
		known_db_free(d->known);
		d->known = d->before;
		d->before = NULL;
		d->touched = false;
	}
	c->touched_dbs = NULL;
	kept_rollback(c);
	c->access_dirty = c->imports_dirty = true;
	aliases_rollback(c);
	for (size_t i = 0; i < c->dirty_count; i++)
		c->dirty[i]->planned = false;
	for (struct db *d = c->dirty_dbs; d; d = d->dirty_next)
		d->planned = false;
}

/* --- rows --- */

static int row_cmp(const void *a, const void *b)
{
	return strcmp(((const struct state_row *)a)->key, ((const struct state_row *)b)->key);
}

static struct state_row source_row(const struct catalog *c, struct arena *arena)
{
	Jr__KnownSource msg = JR__KNOWN_SOURCE__INIT;
	struct state_row row = {.key = "source"};
	uint8_t *p;

	msg.cluster_id = c->source.cluster_id;
	msg.root = c->source.root;
	msg.revision = c->revision;
	msg.default_created = c->source.default_created;
	row.size = jr__known_source__get_packed_size(&msg);
	p = arena_alloc(arena, row.size);
	jr__known_source__pack(&msg, p);
	row.value = p;
	return row;
}

size_t catalog_state(struct catalog *c, struct arena *arena, struct state_row **ret)
{
	size_t n = 0, cap = 1 + kept_changed(c) + aliases_touched(c);
	struct state_row *rows;

	for (struct coll *k = c->touched; k; k = k->touched_next)
		cap++;
	for (struct db *d = c->touched_dbs; d; d = d->touched_next)
		cap++;
	rows = arena_alloc(arena, cap * sizeof(*rows));
	for (struct coll *k = c->touched; k; k = k->touched_next) {
		rows[n].key = arena_printf(arena, "coll/%lld", (long long)k->id);
		rows[n].value = k->known ? arena_dup(arena, k->known->row, k->known->row_size) : NULL;
		rows[n++].size = k->known ? k->known->row_size : 0;
	}
	for (struct db *d = c->touched_dbs; d; d = d->touched_next) {
		rows[n].key = arena_printf(arena, "db/%lld", (long long)d->id);
		rows[n].value = d->known ? arena_dup(arena, d->known->row, d->known->row_size) : NULL;
		rows[n++].size = d->known ? d->known->row_size : 0;
	}
	n += kept_rows(c, arena, rows + n);
	n += aliases_state(c, arena, rows + n);
	if (c->source.set && (n || !c->source.stored))
		rows[n++] = source_row(c, arena);
	qsort(rows, n, sizeof(*rows), row_cmp);
	*ret = rows;
	return n;
}

/* "prefix<id>" -> id; 0 otherwise. */
static int64_t row_id(const char *key, const char *prefix)
{
	size_t n = strlen(prefix);
	long long id;
	char *end;

	if (strncmp(key, prefix, n) != 0 || key[n] < '1' || key[n] > '9')
		return 0;
	id = strtoll(key + n, &end, 10);
	return *end ? 0 : id;
}

static int restore_source(struct catalog *c, const struct state_row *row, struct err *err)
{
	Jr__KnownSource *msg = jr__known_source__unpack(NULL, row->size, row->value);

	if (!msg)
		return err_set(err, ERR_JOURNAL_BAD, "the journal's state row 'source' cannot be read");
	free(c->source.root);
	c->source = (struct known_source){.set = true,
					  .stored = true,
					  .cluster_id = msg->cluster_id,
					  .default_created = msg->default_created,
					  .revision = msg->revision,
					  .root = xstrdup(msg->root)};
	jr__known_source__free_unpacked(msg, NULL);
	return 0;
}

int catalog_restore(struct catalog *c, const struct state_row *row, struct err *err)
{
	int64_t coll = row_id(row->key, "coll/"), db = row_id(row->key, "db/");
	struct arena_pb pb = arena_pb(c->scratch);

	if (!row->value)
		return 0;
	arena_reset(c->scratch);
	if (coll) {
		Jr__KnownCollection *msg =
			jr__known_collection__unpack((ProtobufCAllocator *)&pb, row->size, row->value);
		struct coll *k;

		if (!msg ||
		    (!msg->skipped && (!msg->ddl || !msg->ddl->collection || !msg->ddl->collection->schema)))
			goto bad;
		k = coll_get(c, coll);
		to_grave(c, k->known);
		swap_known(c, k, known_new(c, msg));
		coll_dirty(c, k);
	} else if (db) {
		Jr__KnownDatabase *msg =
			jr__known_database__unpack((ProtobufCAllocator *)&pb, row->size, row->value);
		struct db *d;

		if (!msg || !msg->database)
			goto bad;
		d = db_get(c, db);
		known_db_free(d->known);
		d->known = known_db_new(msg);
		db_dirty(c, d);
	} else if (strncmp(row->key, "alias/", 6) == 0) {
		if (alias_restore(c, row, (ProtobufCAllocator *)&pb) < 0)
			goto bad;
	} else if (STREQ(row->key, "source")) {
		return restore_source(c, row, err);
	} else {
		int rc = kept_restore(c, row);

		if (rc < 0)
			goto bad;
		c->access_dirty |= rc;
		c->imports_dirty |= rc;
	}
	return 0;
bad:
	return err_set(err, ERR_JOURNAL_BAD, "the journal's state row '%s' cannot be read", row->key);
}

/* --- entries --- */

Jr__Ddl *ddl_new(struct arena *arena, int64_t db_id, const char *db, int64_t collection_id, const char *name)
{
	Jr__Ddl *ddl = arena_alloc(arena, sizeof(*ddl));

	jr__ddl__init(ddl);
	ddl->db_id = db_id;
	ddl->db_name = arena_strdup(arena, db);
	if (collection_id) {
		ddl->collection = arena_alloc(arena, sizeof(*ddl->collection));
		mv__collection_info__init(ddl->collection);
		ddl->collection->id = collection_id;
		ddl->collection->schema = arena_alloc(arena, sizeof(*ddl->collection->schema));
		mv__collection_schema__init(ddl->collection->schema);
		ddl->collection->schema->name = arena_strdup(arena, name);
	}
	return ddl;
}

void ddl_entry(struct arena *arena, enum kind kind, cdc_ts ts, const Jr__Ddl *ddl, int64_t partition_id,
	       struct entry *ret)
{
	uint8_t *body;

	*ret = (struct entry){.ts = ts,
			      .kind = kind,
			      .db_id = ddl->db_id,
			      .partition_id = partition_id,
			      .db = ddl->db_name,
			      .collection = "",
			      .vchannel = "",
			      .pchannel = ""};
	if (ddl->collection) {
		ret->collection_id = ddl->collection->id;
		ret->collection = ddl->collection->schema->name;
	}
	ret->size = jr__ddl__get_packed_size(ddl);
	body = arena_alloc(arena, ret->size);
	jr__ddl__pack(ddl, body);
	ret->body = body;
}

/*
 * The source writes Drop records in the background, so one may carry a higher timestamp than the creation
 * of the next one of that name, or in the next database of that name. The drop has to come first (R9): it
 * is left to the plan, which puts it right before that creation. The same for a rename to its name, which
 * itself may have to make room for a creation.
 */
static bool makes_room(const struct catalog *c, const struct coll *k, cdc_ts ts)
{
	if (!coll_over(c, k))
		return false;
	for (size_t i = 0; i < c->dirty_count; i++) {
		const struct coll *n = c->dirty[i];

		if (n != k && coll_to_create(c, n, ts) && STREQ(db_name(c, n->info->parent), k->known->db) &&
		    (n->info->parent != k->known->db_id || STREQ(n->info->name, k->known->name)))
			return true;
		if (n != k && n->renamed && !coll_over(c, n) && STREQ(n->info->name, k->known->name) &&
		    STREQ(db_name(c, n->info->parent), k->known->db))
			return true;
	}
	return false;
}

int catalog_drop_collection(struct catalog *c, int64_t id, cdc_ts ts, struct arena *arena, struct entry *ret)
{
	struct coll *k = coll_find(c, id);
	const struct known *was;

	if (!k || !k->known || k->known->state != KNOWN_LIVE || makes_room(c, k, ts))
		return 0;
	was = k->known;
	aliases_lose(c, k, ts, arena);
	ddl_entry(arena, KIND_DROP_COLLECTION, ts, ddl_new(arena, was->db_id, was->db, id, was->name), 0,
		  ret);
	known_set(c, k, known_remains(c, arena, true, was->db_id, was->db, id, was->name));
	return 1;
}

/* Takes a partition out of the list of the live ones; NULL: it is not in it. */
static Mv__PartitionInfo *take_partition(Jr__KnownCollection *m, int64_t id)
{
	Mv__PartitionInfo *found = NULL;
	size_t n = 0;

	for (size_t i = 0; i < m->ddl->n_partitions; i++) {
		if (m->ddl->partitions[i]->partition_id == id)
			found = m->ddl->partitions[i];
		else
			m->ddl->partitions[n++] = m->ddl->partitions[i];
	}
	m->ddl->n_partitions = n;
	return found;
}

static size_t without(int64_t *v, size_t n, int64_t id)
{
	size_t left = 0;

	for (size_t i = 0; i < n; i++)
		if (v[i] != id)
			v[left++] = v[i];
	return left;
}

int known_drop_partition(Jr__KnownCollection *m, int64_t collection_id, int64_t id, cdc_ts ts, bool existed,
			 struct arena *arena, struct entry *ret)
{
	Mv__PartitionInfo *p = take_partition(m, id);
	int64_t *dropped;
	Jr__Ddl *ddl;

	if (!p)
		return 0;
	m->n_loaded_partitions = without(m->loaded_partitions, m->n_loaded_partitions, id);
	if (m->load)
		m->load->n_released_partitions =
			without(m->load->released_partitions, m->load->n_released_partitions, id);
	dropped = arena_alloc(arena, (m->n_dropped_partitions + 1) * sizeof(*dropped));
	if (m->n_dropped_partitions)
		memcpy(dropped, m->dropped_partitions, m->n_dropped_partitions * sizeof(*dropped));
	dropped[m->n_dropped_partitions++] = id;
	m->dropped_partitions = dropped;
	ddl = ddl_new(arena, m->ddl->db_id, m->ddl->db_name, collection_id, m->ddl->collection->schema->name);
	ddl->existed = existed;
	ddl->n_partitions = 1;
	ddl->partitions = &p;
	ddl_entry(arena, KIND_DROP_PARTITION, ts, ddl, id, ret);
	return 1;
}

/* The same of partitions. */
static bool partition_makes_room(const struct catalog *c, const struct coll *k, const Jr__KnownCollection *m,
				 int64_t id, cdc_ts ts)
{
	const char *name = "";

	if (coll_over(c, k) || !partition_over(c, k->id, id))
		return false;
	for (size_t i = 0; i < m->ddl->n_partitions; i++)
		if (m->ddl->partitions[i]->partition_id == id)
			name = m->ddl->partitions[i]->partition_name;
	for (const struct item *it = k->items[ITEM_PARTITION]; it; it = it->next)
		if (partition_is_new(k, it) && it->created <= ts && STREQ(it->name, name))
			return true;
	return false;
}

int catalog_drop_partition(struct catalog *c, int64_t collection_id, int64_t id, cdc_ts ts,
			   struct arena *arena, struct entry *ret)
{
	struct coll *k = coll_find(c, collection_id);
	Jr__KnownCollection *m;

	if (!k || !k->known || k->known->state != KNOWN_LIVE ||
	    !has_id(k->known->live, k->known->live_count, id))
		return 0;
	m = known_unpack(k->known, arena);
	if (partition_makes_room(c, k, m, id, ts) ||
	    !known_drop_partition(m, collection_id, id, ts, false, arena, ret))
		return 0;
	known_set(c, k, known_new(c, m));
	return 1;
}
