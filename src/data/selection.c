/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which collections a task wants. Pure; names compare byte by byte, "" is the database "default". An
 * exclusion goes before every inclusion, wherever it stands in the list.
 */
#include <cdc/flow.h>

#include <stdlib.h>

static const char *db_name(const char *db)
{
	return db && *db ? db : "default";
}

static bool is_all(const char *s)
{
	return STREQ(s, "*");
}

static bool matches(const char *pattern, const char *name)
{
	return is_all(pattern) || STREQ(pattern, name);
}

bool selection_wants(const struct selection *s, const char *db, const char *collection)
{
	bool wants = false;

	for (size_t i = 0; i < s->count; i++) {
		const struct selection_item *item = &s->items[i];

		if (!matches(db_name(item->db), db_name(db)) || !matches(item->collection, collection))
			continue;
		if (item->exclude)
			return false;
		wants = true;
	}
	return wants;
}

bool selection_wants_db(const struct selection *s, const char *db)
{
	bool wants = false;

	for (size_t i = 0; i < s->count; i++) {
		const struct selection_item *item = &s->items[i];

		if (!matches(db_name(item->db), db_name(db)))
			continue;
		if (item->exclude && is_all(item->collection))
			return false;
		wants |= !item->exclude;
	}
	return wants;
}

struct selection selection_copy(const struct selection *s)
{
	struct selection copy = {xcalloc(s->count, sizeof(*copy.items)), s->count};

	for (size_t i = 0; i < s->count; i++)
		copy.items[i] = (struct selection_item){.db = xstrdup(s->items[i].db),
							.collection = xstrdup(s->items[i].collection),
							.exclude = s->items[i].exclude};
	return copy;
}

void selection_clear(struct selection *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->items[i].db);
		free(s->items[i].collection);
	}
	free(s->items);
	*s = (struct selection){0};
}
