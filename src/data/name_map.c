/* SPDX-License-Identifier: Apache-2.0 */
/* Names on the target (see cdc/sink.h). Pure; names compare byte by byte. */
#include <cdc/sink.h>

#include <stdlib.h>

static const char *db_or_default(const char *db)
{
	return db && *db ? db : "default";
}

static const struct name_map_item *find(const struct name_map *m, const char *db, const char *collection)
{
	for (size_t i = 0; m && i < m->count; i++)
		if (STREQ(db_or_default(m->items[i].db), db_or_default(db)) &&
		    STREQ(m->items[i].collection, collection))
			return &m->items[i];
	return NULL;
}

const char *name_map_db(const struct name_map *m, const char *db)
{
	const struct name_map_item *whole = find(m, db, "*");

	return whole ? db_or_default(whole->to_db) : db_or_default(db);
}

void name_map_collection(const struct name_map *m, const char *db, const char *collection, const char **to_db,
			 const char **to_collection)
{
	const struct name_map_item *one = find(m, db, collection);

	*to_db = one ? db_or_default(one->to_db) : name_map_db(m, db);
	*to_collection = one ? one->to_collection : collection;
}

struct name_map name_map_copy(const struct name_map *m)
{
	struct name_map copy = {0};

	if (!m)
		return copy;
	copy = (struct name_map){xcalloc(m->count, sizeof(*copy.items)), m->count};
	for (size_t i = 0; i < m->count; i++)
		copy.items[i] = (struct name_map_item){.db = xstrdup(m->items[i].db),
						       .collection = xstrdup(m->items[i].collection),
						       .to_db = xstrdup(m->items[i].to_db),
						       .to_collection = xstrdup(m->items[i].to_collection)};
	return copy;
}

void name_map_clear(struct name_map *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free(m->items[i].db);
		free(m->items[i].collection);
		free(m->items[i].to_db);
		free(m->items[i].to_collection);
	}
	free(m->items);
	*m = (struct name_map){0};
}
