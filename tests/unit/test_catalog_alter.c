/* SPDX-License-Identifier: Apache-2.0 */
/* What changes in place: properties of collections, databases and indexes, and what is loaded. */
#include "catalog_world.h"

#define CUT(w, watermark, want) CHECK_STR(world_cut(w, watermark), want)

/* "a=1,b=2" -> pairs that live as long as the arena. */
static Mv__KeyValuePair **pairs(struct arena *arena, const char *text, size_t *n)
{
	Mv__KeyValuePair **v = arena_alloc(arena, 8 * sizeof(*v));
	char *s = arena_strdup(arena, text), *save = NULL;

	*n = 0;
	for (char *t = strtok_r(s, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
		v[*n] = arena_alloc(arena, sizeof(**v));
		mv__key_value_pair__init(v[*n]);
		v[*n]->key = t;
		v[*n]->value = strchr(t, '=') + 1;
		strchr(t, '=')[0] = 0;
		(*n)++;
	}
	return v;
}

static void put_coll_with(struct world *w, int64_t id, const char *properties)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct arena_pb pb = arena_pb(arena);
	KEY(key, "root-coord/database/collection-info/1/%lld", (long long)id);
	size_t n;
	const void *value = fake_etcd_get(w->etcd, key, &n);
	Mv__CollectionInfo *m = mv__collection_info__unpack((ProtobufCAllocator *)&pb, n, value);

	m->properties = pairs(arena, properties, &m->n_properties);
	put_msg(w, key, m);
}

static void put_index_with(struct world *w, int64_t coll, int64_t id, const char *params)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct arena_pb pb = arena_pb(arena);
	KEY(key, "field-index/%lld/%lld", (long long)coll, (long long)id);
	size_t n;
	const void *value = fake_etcd_get(w->etcd, key, &n);
	Mv__FieldIndex *m = mv__field_index__unpack((ProtobufCAllocator *)&pb, n, value);

	m->index_info->user_index_params = pairs(arena, params, &m->index_info->n_user_index_params);
	put_msg(w, key, m);
}

static void put_db_with(struct world *w, int64_t id, const char *name, const char *properties)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	Mv__DatabaseInfo m = MV__DATABASE_INFO__INIT;
	KEY(key, "root-coord/database/db-info/%lld", (long long)id);

	m.id = id;
	m.name = (char *)name;
	m.created_time = id == 1 ? 111 : 1;
	m.state = 1;
	m.properties = pairs(arena, properties, &m.n_properties);
	put_msg(w, key, &m);
}

/* --- properties --- */

TEST(properties_of_a_collection_are_told_when_they_differ)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_coll_with(w, 100, "ttl=1");
	CUT(w, 100, "create collection a#100@50"); /* with them */
	put_coll_with(w, 100, "x=y,ttl=2");
	CUT(w, 200, "alter collection a#100/ttl=2/x=y@200");
	put_coll_with(w, 100, "ttl=2,x=y"); /* a map has no order */
	CUT(w, 300, "");
	world_restart(w);
	CUT(w, 400, "");
	put_coll_with(w, 100, "x=y");
	world_fence(w, 500);
	CHECK_STR(world_build(w, 500), "alter collection a#100/x=y/-ttl@500");
	catalog_rollback(w->cat);
	CHECK_STR(world_build(w, 500), "alter collection a#100/x=y/-ttl@500");
	world_commit(w, 500);
	put_coll_with(w, 100, "");
	CUT(w, 600, "alter collection a#100/-x@600");
}

TEST(a_change_of_properties_that_etcd_does_not_show_is_a_warning_told_once)
{
	WORLD(w);
	struct catalog_warning *v;

	make_coll(w, 1, 100, "a", 50);
	put_coll_with(w, 100, "ttl=1");
	CUT(w, 100, "create collection a#100@50");
	put_coll_with(w, 100, "ttl=1"); /* 2.3 writes what was before */
	CUT(w, 200, "");
	CHECK_INT(catalog_warnings(w->cat, w->arena, &v), 1);
	CHECK(strstr(v[0].text, "default.a") && v[0].fresh);
	put_coll_with(w, 100, "ttl=1");
	CUT(w, 300, "");
	CHECK_INT(catalog_warnings(w->cat, w->arena, &v), 1);
	CHECK(!v[0].fresh);
	world_record(w, 100, 0, 350);
	CUT(w, 400, "drop collection a#100@350");
	CHECK_INT(catalog_warnings(w->cat, w->arena, &v), 0);
}

TEST(properties_of_a_database_are_told_when_they_differ)
{
	WORLD(w);

	put_db_with(w, 5, "x", "replicas=1");
	CUT(w, 100, "create database x#5@100");
	put_db_with(w, 5, "x", "replicas=2");
	CHECK(catalog_fence(w->cat, 100, &w->err) == 0 && catalog_pending(w->cat));
	CUT(w, 200, "alter database x#5/replicas=2@200");
	CHECK(!catalog_pending(w->cat));
	world_restart(w);
	CUT(w, 300, "");
	put_db_with(w, 5, "x", "");
	CUT(w, 400, "alter database x#5/-replicas@400");
	put_db_with(w, 6, "no_db", "a=b");
	CUT(w, 500, "");
	put_db_with(w, 6, "no_db", "a=c");
	CUT(w, 600, "");
}

TEST(the_default_database_has_properties_too)
{
	WORLD(w);

	CUT(w, 100, "");
	put_db_with(w, 1, "default", "a=b");
	CUT(w, 200, "alter database default#1/a=b@200");
	CUT(w, 300, "");
	world_restart(w);
	CUT(w, 400, "");
	put_db_with(w, 1, "default", "");
	CUT(w, 500, "alter database default#1/-a@500");
}

TEST(parameters_of_an_index_are_told_when_they_differ)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_index(w, 100, 7, 101, "i", false);
	CUT(w, 100, "create collection a#100@50, create index a#100/i@100");
	put_index_with(w, 100, 7, "index_type=FLAT,mmap.enabled=true");
	CUT(w, 200, "alter index a#100/i/index_type=FLAT/mmap.enabled=true@200");
	CUT(w, 300, "");
	world_restart(w);
	CUT(w, 400, "");
	put_index_with(w, 100, 7, "index_type=FLAT");
	CUT(w, 500, "alter index a#100/i/index_type=FLAT/-mmap.enabled@500");
}

/* --- load, as a real 2.3.5 writes it --- */

#define OLD (ts_from_ms(20000)) /* a watermark at which partitions made at 50 are there for a while */

static void three_partitions(struct world *w)
{
	make_coll(w, 1, 100, "a", 50);
	for (int i = 0; i < 3; i++)
		put_part(w, 100, 102 + i, (const char *[]){"p", "q", "r"}[i], 50, STATE_CREATED);
}

TEST(partitions_are_loaded_and_released_one_by_one)
{
	WORLD(w);

	three_partitions(w);
	world_cut(w, 100);
	put_load_as(w, 100, 1, 1);
	CUT(w, 200, ""); /* their keys come after that of the collection */
	put_loaded(w, 100, 103, true);
	put_loaded(w, 100, 102, true);
	CUT(w, 300, "load partitions a#100/p+q@300");
	put_load_as(w, 100, 1, 2);
	CUT(w, 400, "");
	world_restart(w);
	CUT(w, 500, "");
	put_loaded(w, 100, 104, true);
	put_loaded(w, 100, 102, false);
	CUT(w, 600, "release partitions a#100/p@600, load partitions a#100/r@600");
	put_part(w, 100, 105, "s", 650, STATE_CREATED); /* is not loaded by itself */
	CUT(w, 700, "create partition a#100/s@650");
	del_load(w, 100);
	put_loaded(w, 100, 103, false);
	put_loaded(w, 100, 104, false);
	CUT(w, 800, "release a#100@800");
	CUT(w, OLD, "");
}

TEST(a_partition_that_is_made_in_a_loaded_collection_is_loaded_by_itself)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_load_as(w, 100, 2, 2);
	put_loaded(w, 100, 101, true);
	CUT(w, 100, "create collection a#100@50, load a#100@100");
	put_part(w, 100, 102, "p", 150, STATE_CREATED);
	CUT(w, 200, "create partition a#100/p@150"); /* its key comes later */
	put_loaded(w, 100, 102, true);
	CUT(w, 300, "");
	CUT(w, OLD, "");
	world_restart(w);
	CUT(w, OLD + 1, "");
}

TEST(a_partition_of_a_loaded_collection_is_released_and_loaded_again)
{
	WORLD(w);

	three_partitions(w);
	put_load_as(w, 100, 2, 2);
	for (int i = 101; i <= 104; i++)
		put_loaded(w, 100, i, true);
	CUT(w, 100, "create collection a#100@50, load a#100@100");
	put_loaded(w, 100, 102, false);
	put_loaded(w, 100, 103, false);
	CUT(w, 200, "release partitions a#100/p+q@200");
	world_restart(w);
	CUT(w, 300, "");
	put_loaded(w, 100, 102, true);
	CUT(w, 400, "load partitions a#100/p@400");
	put_part(w, 100, 105, "s", 450, STATE_CREATED);
	put_loaded(w, 100, 105, true);
	CUT(w, 500, "create partition a#100/s@450, load partitions a#100/s@500");
	put_loaded(w, 100, 103, true);
	CUT(w, 600, "load a#100@600");
	put_loaded(w, 100, 103, false);
	put_part(w, 100, 103, "q", 50, STATE_DROPPING);
	world_record(w, 100, 103, 650);
	CUT(w, 700, "drop partition a#100/q@650");
	CUT(w, OLD, "");
}

TEST(a_partition_released_before_the_start_is_released_after_the_load)
{
	WORLD(w);

	three_partitions(w);
	put_load_as(w, 100, 2, 2);
	put_loaded(w, 100, 101, true);
	put_loaded(w, 100, 104, true);
	CUT(w, OLD,
	    "create collection a#100@50, load a#100@5242880000, release partitions a#100/p+q@5242880000");
	CUT(w, OLD + 1, "");
	world_restart(w);
	CUT(w, OLD + 2, "");
}

TEST(a_partition_is_not_taken_for_released_while_the_load_is_being_made)
{
	WORLD(w);

	three_partitions(w);
	put_load_as(w, 100, 2, 1);
	put_loaded(w, 100, 101, true);
	CUT(w, OLD, "create collection a#100@50, load a#100@5242880000");
	for (int i = 102; i <= 104; i++)
		put_loaded(w, 100, i, true);
	put_load_as(w, 100, 2, 2);
	CUT(w, OLD + 1, "");
}

TEST(a_collection_is_loaded_whole_after_its_partitions_and_in_part_after_a_release)
{
	WORLD(w);

	three_partitions(w);
	put_load_as(w, 100, 1, 2);
	put_loaded(w, 100, 102, true);
	CUT(w, 100, "create collection a#100@50, load partitions a#100/p@100");
	put_load_as(w, 100, 2, 2);
	for (int i = 101; i <= 104; i++)
		put_loaded(w, 100, i, true);
	CUT(w, 200, "load a#100@200");
	put_load_as(w, 100, 1, 2);
	for (int i = 101; i <= 103; i++)
		put_loaded(w, 100, i, false);
	CUT(w, 300, "release a#100@300, load partitions a#100/r@300");
}

TEST(partitions_loaded_at_the_start_are_part_of_the_first_cut)
{
	WORLD(w);
	Jr__Ddl *d;

	three_partitions(w);
	put_load_as(w, 100, 1, 2);
	put_loaded(w, 100, 104, true);
	put_loaded(w, 100, 103, true);
	CUT(w, 100, "create collection a#100@50, load partitions a#100/q+r@100");
	d = world_ddl(w, 1);
	CHECK(d->existed && d->load && d->load->replica_number == 1);
	CHECK_INT(d->partitions[0]->partition_id, 103);
	jr__ddl__free_unpacked(d, NULL);
}

TEST(after_a_rename_the_rest_of_the_cut_has_the_new_name)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_load_as(w, 100, 2, 2);
	put_loaded(w, 100, 101, true);
	put_index(w, 100, 7, 101, "i", false);
	put_alias(w, 1, "x", 100);
	world_cut(w, 100);
	put_coll(w, 1, 100, "b", 50, STATE_CREATED);
	put_coll_with(w, 100, "ttl=1");
	del_load(w, 100);
	put_loaded(w, 100, 101, false);
	put_index(w, 100, 7, 101, "i", true);
	put_index(w, 100, 8, 101, "j", false);
	del_alias(w, 1, "x");
	put_alias(w, 1, "a", 100);
	CUT(w, 200,
	    "drop alias b#100/x@200, rename collection a#100->default.b@200, release b#100@200, "
	    "drop index b#100/i@200, alter collection b#100/ttl=1@200, create index b#100/j@200, "
	    "create alias b#100/a@200");
}

TEST_MAIN()
