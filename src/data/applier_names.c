/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and holds (R23). A rename or alias that waited with its collection is replayed after what came later
 * for other collections. If one of these has got the name since, at the source ours had given it up before
 * that: taking it now would take it from its owner, for good. Such an entry is left out; what the collection
 * is called next comes in its own replay. The journal tells, since it keeps all from the hold on. Looked
 * for only when a rename or alias is replayed, which is rare. Applier's thread.
 */
#include "applier_priv.h"

#include "journal.pb-c.h"

struct given {
	const char *db, *name; /* of a collection or an alias: they share their names */
};

static bool gives_name(const struct entry *e)
{
	return e->kind == KIND_CREATE_COLLECTION || e->kind == KIND_RENAME_COLLECTION ||
	       e->kind == KIND_CREATE_ALIAS || e->kind == KIND_ALTER_ALIAS;
}

/* False: its body cannot be read, which whoever applies it tells. */
static bool name_of(const struct entry *e, struct arena *arena, struct given *ret)
{
	struct arena_pb pb = arena_pb(arena);
	const Jr__Ddl *d = jr__ddl__unpack((ProtobufCAllocator *)&pb, e->size, e->body);

	if (!d)
		return false;
	*ret = (struct given){d->db_name, d->alias};
	if (e->kind == KIND_CREATE_COLLECTION)
		ret->name = d->collection && d->collection->schema ? d->collection->schema->name : "";
	if (e->kind == KIND_RENAME_COLLECTION) {
		ret->name = d->new_name;
		if (d->new_db_id || *d->new_db_name)
			ret->db = d->new_db_name;
	}
	if (!*ret->db)
		ret->db = "default";
	return *ret->name != 0;
}

int applier_name_passed_on(struct applier *a, const struct entry *e, bool *ret, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new(), *part = arena_new();
	struct given own, other;
	struct journal_batch b;
	int64_t after = e->seq;
	int rc;

	*ret = false;
	if (!gives_name(e) || e->kind == KIND_CREATE_COLLECTION || !name_of(e, arena, &own))
		return 0;
	while (after < a->mark.seq) {
		arena_reset(part);
		if ((rc = applier_poll(a, err)) < 0 ||
		    (rc = journal_read(a->cursor, after, a->limits.bytes, a->limits.entries, part, &b, err)) <
			    0 ||
		    b.count == 0)
			return rc;
		for (size_t i = 0; i < b.count && b.entries[i].seq <= a->mark.seq; i++) {
			const struct entry *x = &b.entries[i];

			if (x->collection_id != e->collection_id && gives_name(x) &&
			    name_of(x, part, &other) && STREQ(own.db, other.db) &&
			    STREQ(own.name, other.name)) {
				*ret = true;
				return 0;
			}
		}
		after = b.entries[b.count - 1].seq;
	}
	return 0;
}
