/* SPDX-License-Identifier: Apache-2.0 */
/* Names on the target: what a mapping makes of one, and which names can meet there. */
#include <cdc/flow.h>

#include "../../src/control/target_names.h"
#include "../t.h"

#define SELECT(...) \
	(&(struct selection){.items = (struct selection_item[]){__VA_ARGS__}, \
			     .count = ARRAY_LEN(((struct selection_item[]){__VA_ARGS__}))})
#define MAP(...) \
	(&(struct name_map){.items = (struct name_map_item[]){__VA_ARGS__}, \
			    .count = ARRAY_LEN(((struct name_map_item[]){__VA_ARGS__}))})

static struct err err;

static const char *mapped(const struct name_map *m, const char *db, const char *collection)
{
	static char ret[128];
	const char *to_db, *to;

	name_map_collection(m, db, collection, &to_db, &to);
	snprintf(ret, sizeof(ret), "%s.%s", to_db, to);
	return ret;
}

TEST(without_a_mapping_names_stay)
{
	CHECK_STR(mapped(NULL, "", "a"), "default.a");
	CHECK_STR(mapped(NULL, "d", "a"), "d.a");
	CHECK_STR(name_map_db(NULL, ""), "default");
}

TEST(a_collections_own_mapping_goes_before_that_of_its_database)
{
	const struct name_map *m = MAP({"d", "*", "e", "*"}, {"d", "a", "f", "b"}, {"", "c", "", "x"});

	CHECK_STR(mapped(m, "d", "a"), "f.b");
	CHECK_STR(mapped(m, "d", "z"), "e.z");
	CHECK_STR(mapped(m, "default", "c"), "default.x");
	CHECK_STR(mapped(m, NULL, "d"), "default.d");
	CHECK_STR(name_map_db(m, "d"), "e");
	CHECK_STR(name_map_db(m, "g"), "g");
}

/* A task: nothing, or both sources in words. */
static const char *conflict(const struct selection *s, const struct name_map *m)
{
	err = (struct err){0};
	return target_names_check(s, m, &err) == 0 ? "" : err.text;
}

TEST(two_named_collections_on_one_name_are_refused)
{
	const struct selection *s = SELECT({"", "a", false}, {"", "b", false}, {"d", "a", false});

	CHECK_STR(conflict(s, NULL), "");
	CHECK(strstr(conflict(s, MAP({"", "a", "", "b"})),
		     "default.a and default.b would both be default.b"));
	CHECK(strstr(conflict(s, MAP({"", "a", "x", "c"}, {"d", "a", "x", "c"})), "both be x.c"));
	CHECK(strstr(conflict(s, MAP({"d", "*", "default", "*"})), "both be default.a"));
	CHECK_STR(conflict(s, MAP({"", "a", "", "b"}, {"", "b", "", "a"})), ""); /* swapped */
	CHECK_STR(conflict(s, MAP({"d", "*", "default", "*"}, {"", "a", "", "c"})), "");
}

TEST(what_is_excluded_is_in_nobodys_way)
{
	CHECK_STR(conflict(SELECT({"", "*", false}, {"", "b", true}), MAP({"", "a", "", "b"})), "");
	CHECK_STR(conflict(SELECT({"", "a", false}, {"", "b", false}, {"", "b", true}),
			   MAP({"", "a", "", "b"})),
		  "");
}

TEST(two_whole_databases_never_become_one)
{
	const struct selection *two = SELECT({"c", "*", false}, {"d", "*", false}),
			       *all = SELECT({"*", "*", false});

	CHECK(strstr(conflict(two, MAP({"c", "*", "d", "*"})), "c.* and d.* would both be d.*"));
	CHECK(strstr(conflict(two, MAP({"c", "*", "x", "*"}, {"d", "*", "x", "*"})), "both be x.*"));
	CHECK(strstr(conflict(all, MAP({"c", "*", "default", "*"})), "both be default.*")); /* it exists */
	CHECK_STR(conflict(two, MAP({"c", "*", "d", "*"}, {"d", "*", "c", "*"})), "");
	CHECK_STR(conflict(SELECT({"*", "*", false}, {"d", "*", true}), MAP({"c", "*", "d", "*"})), "");
}

TEST(a_collection_that_may_not_exist_is_no_conflict_yet)
{
	CHECK_STR(conflict(SELECT({"", "*", false}), MAP({"", "a", "", "b"})), "");
	CHECK_STR(conflict(SELECT({"*", "*", false}), MAP({"c", "*", "market", "*"})), "");
}

/* Two tasks: the name they share, or "". */
static const char *shared(const struct selection *a, const struct name_map *am, const struct selection *b,
			  const struct name_map *bm)
{
	static char ret[128];
	AUTO(arena_free) struct arena *arena = arena_new();
	const char *name = target_names_meet(arena, target_names_of(arena, a, am),
					     target_names_of(arena, b, bm)),
		   *other = target_names_meet(arena, target_names_of(arena, b, bm),
					      target_names_of(arena, a, am));

	CHECK(!name == !other);
	snprintf(ret, sizeof(ret), "%s", name ? name : "");
	return ret;
}

TEST(two_tasks_share_what_both_may_write)
{
	const struct selection *a = SELECT({"", "a", false}), *b = SELECT({"", "b", false}),
			       *all = SELECT({"*", "*", false}), *d = SELECT({"d", "*", false}),
			       *any_a = SELECT({"*", "a", false});

	CHECK_STR(shared(a, NULL, a, NULL), "default.a");
	CHECK_STR(shared(a, NULL, b, NULL), "");
	CHECK_STR(shared(a, NULL, all, NULL), "default.a");
	CHECK_STR(shared(all, NULL, all, NULL), "default.*");
	CHECK_STR(shared(d, NULL, any_a, NULL), "d.a");
	CHECK_STR(shared(d, NULL, a, NULL), "");
	CHECK_STR(shared(a, MAP({"", "a", "d", "x"}), d, NULL), "d.x");
	CHECK_STR(shared(a, MAP({"", "a", "", "a2"}), a, NULL), "");
}

TEST(two_tasks_share_nothing_of_what_one_excludes_or_renames)
{
	const struct selection *a = SELECT({"", "a", false}), *all = SELECT({"*", "*", false}),
			       *d = SELECT({"d", "*", false});

	CHECK_STR(shared(a, NULL, SELECT({"*", "*", false}, {"", "a", true}), NULL), "");
	CHECK_STR(shared(d, NULL, SELECT({"*", "*", false}, {"d", "*", true}), NULL), "");
	CHECK_STR(shared(d, NULL, SELECT({"*", "*", false}, {"*", "a", true}), NULL), "d.*");
	CHECK_STR(shared(SELECT({"d", "a", false}), NULL, SELECT({"*", "*", false}, {"*", "a", true}), NULL),
		  "");
	CHECK_STR(shared(a, NULL, all, MAP({"", "a", "", "b"})), "");
	CHECK_STR(shared(SELECT({"", "b", false}), NULL, all, MAP({"", "a", "", "b"})), "default.b");
	CHECK_STR(shared(d, NULL, all, MAP({"d", "*", "e", "*"})), "");
	CHECK_STR(shared(SELECT({"e", "x", false}), NULL, all, MAP({"d", "*", "e", "*"})), "e.x");
}

TEST_MAIN()
