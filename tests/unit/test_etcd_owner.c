/* SPDX-License-Identifier: Apache-2.0 */
/* The owner's key (R32) against a real etcd that the test starts itself. */
#include <cdc/wire.h>
#include <cdc/worker.h>

#include "../fake/etcd_process.h"
#include "../t.h"

#include <signal.h>

#define KEY "milvus-cdc/by-dev/target/10.0.0.1:19530"
#define TTL_S 2 /* etcd makes it longer by half an election timeout at most */

struct side {
	struct conf_etcd conf;
	char *address[2];
	struct etcd *e;
	struct etcd_owner owner;
	struct arena *arena;
	const char *other;
	struct err err;
};

static struct etcd_process *server;

static struct etcd_process *plain(void)
{
	if (!server) {
		server = etcd_process_new(false);
		etcd_process_start(server);
	}
	return server;
}

__attribute__((destructor)) static void server_free(void)
{
	etcd_process_free(server);
}

static void side_new(struct side *s, const struct etcd_process *p)
{
	*s = (struct side){.address = {p->address}, .arena = arena_new()};
	s->conf.address = s->address;
	s->e = etcd_new(&s->conf, NULL, NULL);
}

static void side_done(struct side *s)
{
	etcd_free(s->e);
	arena_free(s->arena);
}

static int own(struct side *s, const char *key, const char *value, size_t same)
{
	s->other = NULL;
	return etcd_own(s->e, &s->owner, key, value, same, TTL_S, 3000, s->arena, &s->other, &s->err);
}

TEST(R32_the_first_owner_has_the_key_and_the_second_is_told_who)
{
	struct side a, b;

	side_new(&a, plain());
	side_new(&b, plain());
	CHECK_INT(own(&a, KEY "1", "a on host1", 4), 0);
	CHECK_INT(own(&b, KEY "1", "b on host2", 4), 1);
	CHECK_STR(b.other, "a on host1");
	CHECK_INT(own(&a, KEY "1", "a on host1", 4), 0);
	etcd_disown(a.e, &a.owner, 3000);
	CHECK_INT(own(&b, KEY "1", "b on host2", 4), 0);
	CHECK_INT(own(&a, KEY "1", "a on host1", 4), 1);
	side_done(&a);
	side_done(&b);
}

TEST(R32_an_owner_takes_over_from_its_own_earlier_life)
{
	struct side a, again;

	side_new(&a, plain());
	side_new(&again, plain());
	CHECK_INT(own(&a, KEY "2", "a host1 pid 1", 7), 0);
	CHECK_INT(own(&again, KEY "2", "a host1 pid 2", 7), 0);
	side_done(&a);
	side_done(&again);
}

TEST(R32_the_key_of_an_owner_that_is_gone_goes_by_itself)
{
	struct side a, b;
	int64_t end = clock_mono_ms() + 20000;
	int rc;

	side_new(&a, plain());
	side_new(&b, plain());
	CHECK_INT(own(&a, KEY "3", "a", 1), 0);
	CHECK_INT(own(&b, KEY "3", "b", 1), 1);
	while ((rc = own(&b, KEY "3", "b", 1)) == 1 && clock_mono_ms() < end)
		;
	CHECK_INT(rc, 0);
	CHECK_INT(own(&a, KEY "3", "a", 1), 1);
	side_done(&a);
	side_done(&b);
}

TEST(R32_nothing_is_known_while_etcd_is_away_and_the_key_is_kept_afterwards)
{
	struct side a;

	side_new(&a, plain());
	CHECK_INT(own(&a, KEY "4", "a", 1), 0);
	etcd_process_kill(plain());
	CHECK_INT(own(&a, KEY "4", "a", 1), -ERR_SOURCE_LOST);
	etcd_process_start(plain());
	CHECK_INT(own(&a, KEY "4", "a", 1), 0);
	side_done(&a);
}

TEST(R32_a_user_that_may_not_write_is_told_so)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(false);
	struct side s;

	etcd_process_start(p);
	etcd_process_auth(p, "by-dev/");
	side_new(&s, p);
	s.conf.enable_auth = true;
	s.conf.username = (char *)"reader";
	s.conf.password = (char *)"readerpw";
	CHECK_INT(own(&s, KEY, "a", 1), -ERR_SOURCE_AUTH);
	side_done(&s);
}

TEST_MAIN()
