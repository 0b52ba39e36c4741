/* SPDX-License-Identifier: Apache-2.0 */
/* Names on the target: what a mapping makes of one, and which names can meet there. */
#include <cdc/flow.h>

#include "../../src/control/target_names.h"
#include "../t.h"

#include <time.h>

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
	struct target_names *x, *y;
	const char *name;

	CHECK_INT(target_names_of(&x, arena, a, am, &err), 0);
	CHECK_INT(target_names_of(&y, arena, b, bm, &err), 0);
	name = target_names_meet(arena, x, y);
	CHECK(!name == !target_names_meet(arena, y, x));
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

/* ---- any two tasks: what is said of them, against each name tried in turn ---- */

#define RANDOM_ITEMS 6
struct some_task {
	struct selection_item selected[RANDOM_ITEMS];
	struct name_map_item mapped[RANDOM_ITEMS];
	struct selection s;
	struct name_map m;
};

static unsigned rnd(unsigned n)
{
	static uint64_t state = 7;

	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33) % n;
}

/* "z" is never named: it stands for all others. */
static const char *const all_dbs[] = {"default", "d", "e", "z"}, *const all_names[] = {"a", "b", "c", "z"};
enum { NAMED = 3, ALL = 4 };

static void make(struct some_task *t)
{
	static const char *const dbs[] = {"", "d", "e", "*"}, *const names[] = {"a", "b", "c", "*"};

	*t = (struct some_task){.s = {t->selected, 1 + rnd(RANDOM_ITEMS)}, .m = {t->mapped, rnd(4)}};
	for (size_t i = 0; i < t->s.count; i++)
		t->selected[i] =
			(struct selection_item){(char *)dbs[rnd(4)], (char *)names[rnd(4)], rnd(3) == 0};
	for (size_t i = 0; i < t->m.count; i++) {
		const char *name = names[rnd(4)];

		t->mapped[i] =
			(struct name_map_item){(char *)dbs[rnd(NAMED)], (char *)name, (char *)dbs[rnd(NAMED)],
					       (char *)(STREQ(name, "*") ? "*" : names[rnd(NAMED)])};
	}
}

/* The target's name of a source; false: it is not wanted. */
static bool goes_to(const struct some_task *t, int db, int name, char ret[16])
{
	const char *to_db, *to;

	if (!selection_wants(&t->s, all_dbs[db], all_names[name]))
		return false;
	name_map_collection(&t->m, all_dbs[db], all_names[name], &to_db, &to);
	snprintf(ret, 16, "%s.%s", to_db, to);
	return true;
}

static bool really_shared(const struct some_task *a, const struct some_task *b)
{
	char x[16], y[16];

	for (int i = 0; i < ALL * ALL; i++)
		for (int k = 0; k < ALL * ALL; k++)
			if (goes_to(a, i / ALL, i % ALL, x) && goes_to(b, k / ALL, k % ALL, y) && STREQ(x, y))
				return true;
	return false;
}

TEST(any_two_tasks_share_a_name_if_and_only_if_a_source_of_each_goes_to_it)
{
	struct some_task a, b;
	int met = 0;

	for (int i = 0; i < 20000; i++) {
		make(&a);
		make(&b);
		while (*conflict(&a.s, &a.m))
			make(&a);
		while (*conflict(&b.s, &b.m))
			make(&b);
		CHECKF(!*shared(&a.s, &a.m, &b.s, &b.m) == !really_shared(&a, &b), "round %d", i);
		met += really_shared(&a, &b);
	}
	CHECKF(met > 2000 && met < 18000, "%d", met);
}

/* ---- large ones ---- */

/* A name that differs from the others at its end only, as long as Milvus takes them. */
static char *long_name(struct arena *arena, const char *tag, int i)
{
	char pad[240];

	memset(pad, 'n', sizeof(pad));
	return arena_printf(arena, "%.*s_%s_%d", (int)sizeof(pad), pad, tag, i);
}

/* n names in database "*", and as many databases mapped as the limit of a request allows. */
static void make_large(struct arena *arena, const char *tag, int n, int dbs, struct selection *s,
		       struct name_map *m)
{
	*s = (struct selection){arena_alloc(arena, (size_t)n * sizeof(*s->items)), (size_t)n};
	*m = (struct name_map){arena_alloc(arena, (size_t)dbs * sizeof(*m->items)), (size_t)dbs};
	for (int i = 0; i < n; i++)
		s->items[i] = (struct selection_item){(char *)"*", long_name(arena, tag, i), false};
	for (int i = 0; i < dbs; i++)
		m->items[i] = (struct name_map_item){long_name(arena, "db", i), (char *)"*",
						     long_name(arena, "to", i), (char *)"*"};
}

/* Ten times what it takes; a sanitizer takes ten times as much. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NO_TIME_S 30
#else
#define NO_TIME_S 1.5
#endif

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

TEST(the_largest_tasks_are_compared_in_no_time)
{
	static const int shape[][2] = {{1020, 14}, {15, 1000}, {126, 126}};
	double start = cpu_s();

	for (size_t i = 0; i < ARRAY_LEN(shape); i++) {
		AUTO(arena_free) struct arena *arena = arena_new();
		struct selection a, b;
		struct name_map am, bm;

		make_large(arena, "a", shape[i][0], shape[i][1], &a, &am);
		make_large(arena, "b", shape[i][0], shape[i][1], &b, &bm);
		CHECK_STR(conflict(&a, &am), "");
		CHECK_STR(shared(&a, &am, &b, &bm), "");
	}
	CHECKF(cpu_s() - start < NO_TIME_S, "%.3f s", cpu_s() - start);
}

TEST(more_names_than_can_be_compared_are_refused_before_they_are_made)
{
	AUTO(arena_free) struct arena *arena = arena_new(), *used = arena_new();
	struct target_names *t = NULL;
	struct selection s;
	struct name_map m;

	make_large(arena, "a", 1000, 1024, &s, &m);
	CHECK_INT(target_names_of(&t, used, &s, &m, &err), -ERR_INVALID);
	CHECK(!t);
	CHECKF(arena_size(used) < 1 << 20, "%zu", arena_size(used));
	CHECKF(strstr(err.text, "db_collections: 1000 names of database \"*\" (selected or excluded) in each "
				"of 1025 databases"),
	       "%s", err.text);
	CHECKF(strstr(err.text, "16384 names in all: name fewer in \"*\", or make several tasks"), "%s",
	       err.text);
	for (size_t i = 0; i < s.count; i++)
		s.items[i].exclude = true;
	CHECK_INT(target_names_check(&s, &m, &err), -ERR_INVALID); /* they must be told apart as well */
	m.count = 14; /* with "default" and the nameless ones: 16 * 1000 + 14 */
	CHECK_INT(target_names_check(&s, &m, &err), 0);
}

TEST_MAIN()
