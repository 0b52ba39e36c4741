/* SPDX-License-Identifier: Apache-2.0 */
/* One writer a target (R32): two owners of one process, each with a folder of its own, on a real etcd. */
#include "../../src/control/owner.h"

#include <cdc/wire.h>
#include <cdc/worker.h>

#include "../fake/etcd_process.h"
#include "../t.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct side {
	struct conf conf;
	struct owner *o;
	char *address[2];
	char dir[64];
	pthread_mutex_t mutex;
	bool may;          /* as last told */
	char reason[512];  /* likewise */
	cdc_ts bound;      /* the greatest that was told */
	int tells, bounds; /* how often */
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

__attribute__((constructor)) static void init(void)
{
	wire_init();
}

__attribute__((destructor)) static void server_free(void)
{
	etcd_process_free(server);
}

static void told(void *arg, const char *key, const char *reason)
{
	struct side *s = arg;

	(void)key;
	pthread_mutex_lock(&s->mutex);
	s->may = !reason;
	snprintf(s->reason, sizeof(s->reason), "%s", reason ? reason : "");
	s->tells++;
	pthread_mutex_unlock(&s->mutex);
}

static void taken(void *arg, const char *key, cdc_ts bound)
{
	struct side *s = arg;

	(void)key;
	pthread_mutex_lock(&s->mutex);
	if (bound > s->bound)
		s->bound = bound;
	s->bounds++;
	pthread_mutex_unlock(&s->mutex);
}

static void side_new(struct side *s, const struct etcd_process *p)
{
	*s = (struct side){.address = {p->address}};
	pthread_mutex_init(&s->mutex, NULL);
	snprintf(s->dir, sizeof(s->dir), "/tmp/cdc-owner-XXXXXX");
	CHECK(mkdtemp(s->dir) != NULL);
	s->conf.data_dir = s->dir;
	s->conf.source.etcd.address = s->address;
	s->conf.source.etcd.root_path = (char *)"by-dev";
	s->conf.source.etcd.meta_sub_path = (char *)"meta";
}

static void side_start(struct side *s)
{
	struct err err = {0};

	s->may = false;
	s->bound = 0;
	s->tells = s->bounds = 0;
	CHECKF(owner_new(&s->o, &(struct owner_conf){&s->conf, told, taken, s}, &err) == 0, "%s", err.text);
}

static void side_end(struct side *s)
{
	owner_free(TAKE(s->o));
}

static void side_done(struct side *s)
{
	char path[96];

	side_end(s);
	snprintf(path, sizeof(path), "%s/instance", s->dir);
	unlink(path);
	rmdir(s->dir);
	pthread_mutex_destroy(&s->mutex);
}

static bool want(struct side *s, const char *key, char *ret)
{
	char reason[512];
	bool may = owner_want(s->o, key, reason, sizeof(reason));

	snprintf(ret, 512, "%s", reason);
	return may;
}

/* Waits until the side was told so. */
static bool comes(struct side *s, bool may, int ms)
{
	int64_t end = clock_mono_ms() + ms;
	bool now = !may;

	while (clock_mono_ms() < end) {
		pthread_mutex_lock(&s->mutex);
		now = s->tells && s->may == may;
		pthread_mutex_unlock(&s->mutex);
		if (now)
			return true;
		poll(NULL, 0, 2);
	}
	return false;
}

/* The source's clock, as Milvus writes it. */
static void clock_put(struct etcd_process *p, char ms)
{
	/* a text of 8 bytes serves as well as a number: the top byte is what the test moves */
	char value[9] = {0x17, 1, 1, 1, 1, 1, ms, 1, 0};

	etcd_process_put(p, "by-dev/kv/gid/timestamp", value);
}

TEST(R32_while_it_is_not_known_a_task_is_not_told_a_reason)
{
	struct side a;
	char why[512];

	side_new(&a, plain());
	side_start(&a);
	CHECK(!want(&a, "10.0.0.1:1", why));
	CHECK_STR(why, "");
	CHECK(comes(&a, true, 10000));
	CHECK(want(&a, "10.0.0.1:1", why));
	side_done(&a);
}

TEST(R32_the_second_waits_with_who_and_goes_on_when_the_first_leaves)
{
	struct side a, b;
	char why[512];

	side_new(&a, plain());
	side_new(&b, plain());
	side_start(&a);
	side_start(&b);
	want(&a, "10.0.0.1:2", why);
	CHECK(comes(&a, true, 10000));
	want(&b, "10.0.0.1:2", why);
	CHECK(comes(&b, false, 10000));
	CHECK(!want(&b, "10.0.0.1:2", why));
	CHECKF(strstr(why, a.dir) && strstr(why, "10.0.0.1:2"), "%s", why);
	owner_drop(a.o, "10.0.0.1:2"); /* its last task was deleted */
	CHECK(comes(&b, true, 10000));
	want(&a, "10.0.0.1:2", why);
	CHECK(comes(&a, false, 10000));
	side_end(&b); /* a clean stop */
	CHECK(comes(&a, true, 10000));
	side_done(&a);
	side_done(&b);
}

TEST(R21_who_takes_a_target_over_from_another_is_told_how_far_its_ticks_went)
{
	struct side a, b;
	cdc_ts first;
	char why[512];

	side_new(&a, plain());
	side_new(&b, plain());
	clock_put(plain(), 1);
	side_start(&a);
	want(&a, "10.0.0.1:3", why);
	CHECK(comes(&a, true, 10000));
	CHECK_INT(a.bound, 0); /* nobody was before */
	side_end(&a);
	side_start(&a);
	want(&a, "10.0.0.1:3", why);
	CHECK(comes(&a, true, 10000));
	CHECK_INT(a.bound, 0); /* only itself */
	side_end(&a);
	side_start(&b);
	want(&b, "10.0.0.1:3", why);
	CHECK(comes(&b, true, 10000));
	first = b.bound;
	CHECK_INT(ts_ms(first), 0x1701010101010101 / 1000000 + 10);
	side_end(&b);
	clock_put(plain(), 9);
	side_start(&b); /* what it was told for may still wait in its journals */
	want(&b, "10.0.0.1:3", why);
	CHECK(comes(&b, true, 10000));
	CHECK_INT(b.bound, first);
	side_end(&b);
	side_start(&a);
	want(&a, "10.0.0.1:3", why);
	CHECK(comes(&a, true, 10000));
	CHECK_INT(ts_ms(a.bound), 0x1701010101010901 / 1000000 + 10);
	CHECK_INT(a.bounds, 1);
	side_done(&a);
	side_done(&b);
}

TEST(R32_a_user_that_may_not_write_and_an_etcd_that_is_away_stop_nobody)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(false);
	struct side a;
	char why[512];

	etcd_process_start(p);
	etcd_process_auth(p, "by-dev/");
	side_new(&a, p);
	a.conf.source.etcd.enable_auth = true;
	a.conf.source.etcd.username = (char *)"reader";
	a.conf.source.etcd.password = (char *)"readerpw";
	side_start(&a);
	want(&a, "10.0.0.1:4", why);
	CHECK(comes(&a, true, 10000));
	side_end(&a);
	etcd_process_kill(p);
	side_start(&a);
	want(&a, "10.0.0.1:4", why);
	CHECK(comes(&a, true, 10000));
	side_done(&a);
}

TEST_MAIN()
