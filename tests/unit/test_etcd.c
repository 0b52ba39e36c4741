/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_read against a real etcd that the test starts itself. Needs the programs etcd and openssl. */
#include "etcd_kit.h"

#include <cdc/pb.h>

#include "../fake/etcd_process.h"

#include <signal.h>
#include <stdatomic.h>

/* One etcd for the tests that do not harm it. */
static struct etcd_process *shared;

static struct etcd_process *plain(void)
{
	if (!shared) {
		shared = etcd_process_new(false);
		etcd_process_start(shared);
		etcd_process_put(shared, "a/1", "one");
		etcd_process_put(shared, "a/2", "two");
		etcd_process_put(shared, "b/1", "");
		etcd_process_put(shared, "a0", "not under a/");
	}
	return shared;
}

__attribute__((destructor)) static void shared_free(void)
{
	etcd_process_free(shared);
}

TEST(prefixes_and_single_keys_are_read_at_one_revision)
{
	AUTO(fixture_free) struct fixture *f = fixture_new(plain()->address);
	struct etcd_range r[] = {
		{.key = "a/", .prefix = true},
		{.key = "b/", .prefix = true, .keys_only = true},
		{.key = "a/2"},
		{.key = "none"},
		{.key = "a/", .prefix = true, .keys_only = true},
	};

	CHECKF(read_for(f, r, ARRAY_LEN(r), 5000) == 0, "%s", f->err.text);
	CHECK(f->answer.cluster_id != 0);
	CHECK(f->answer.revision >= 5);
	CHECK_INT(r[0].kv_count, 2);
	CHECK_INT(r[0].total, 2);
	CHECK_STR(r[0].kvs[0].key, "a/1");
	CHECK(r[0].kvs[0].size == 3 && memcmp(r[0].kvs[0].value, "one", 3) == 0);
	CHECK_STR(r[0].kvs[1].key, "a/2");
	CHECK(r[0].kvs[1].mod_revision > r[0].kvs[0].mod_revision);
	CHECK_INT(r[0].kvs[1].create_revision, r[0].kvs[1].mod_revision);
	CHECK_INT(r[1].kv_count, 1);
	CHECK_INT(r[1].kvs[0].size, 0);
	CHECK_INT(r[2].kv_count, 1);
	CHECK(memcmp(r[2].kvs[0].value, "two", 3) == 0);
	CHECK(r[3].kv_count == 0 && r[3].total == 0);
	CHECK(r[4].kv_count == 2 && r[4].kvs[0].size == 0);
}

TEST(min_mod_revision_gives_what_changed_and_the_total_of_all)
{
	AUTO(fixture_free) struct fixture *f = fixture_new(plain()->address);
	struct etcd_range r = {.key = "m/", .prefix = true};
	int64_t revision;

	etcd_process_put_many(plain(), "m/", 7);
	CHECKF(read_for(f, &r, 1, 5000) == 0, "%s", f->err.text);
	CHECK_INT(r.kv_count, 7);
	revision = f->answer.revision;
	etcd_process_put(plain(), "m/00003", "changed");
	r = (struct etcd_range){.key = "m/", .prefix = true, .min_mod_revision = revision + 1};
	CHECKF(read_for(f, &r, 1, 5000) == 0, "%s", f->err.text);
	CHECK_INT(f->answer.revision, revision + 1);
	CHECK_INT(r.kv_count, 1);
	CHECK_INT(r.total, 7);
	CHECK_STR(r.kvs[0].key, "m/00003");
	CHECK_INT(r.kvs[0].mod_revision, revision + 1);
	CHECK(r.kvs[0].create_revision < revision + 1);

	/* compaction forgets old revisions, not when a key was changed last */
	etcd_process_put(plain(), "m/00004", "x");
	etcd_process_compact(plain(), revision + 2);
	r = (struct etcd_range){.key = "m/", .prefix = true, .min_mod_revision = revision + 1};
	CHECKF(read_for(f, &r, 1, 5000) == 0, "%s", f->err.text);
	CHECK(r.kv_count == 2 && r.total == 7);
}

TEST(ten_thousand_keys_and_the_whole_store)
{
	AUTO(fixture_free) struct fixture *f = fixture_new(plain()->address);
	struct etcd_range r = {.key = "k/", .prefix = true},
			  all = {.key = "", .prefix = true, .keys_only = true};

	etcd_process_put_many(plain(), "k/", 10000);
	CHECKF(read_for(f, &r, 1, 20000) == 0, "%s", f->err.text);
	CHECK_INT(r.kv_count, 10000);
	CHECK_INT(r.total, 10000);
	for (size_t i = 0; i < r.kv_count; i++) {
		char key[32], value[32];

		snprintf(key, sizeof(key), "k/%05zu", i);
		snprintf(value, sizeof(value), "v%zu", i);
		CHECK_STR(r.kvs[i].key, key);
		CHECK(r.kvs[i].size == strlen(value) && memcmp(r.kvs[i].value, value, r.kvs[i].size) == 0);
	}
	CHECKF(read_for(f, &all, 1, 20000) == 0, "%s", f->err.text);
	CHECK(all.kv_count > 10000 && all.total == (int64_t)all.kv_count);
}

TEST(key_with_a_nul_counts_only_in_total)
{
	AUTO(fixture_free) struct fixture *f = fixture_new(plain()->address);
	AUTO_BUF struct buf put = {0};
	struct etcd_range r = {.key = "n/", .prefix = true};
	struct err err;

	etcd_process_put(plain(), "n/1", "x");
	pb_put_bytes(&put, 1, "n/\0z", 4);
	CHECKF(etcd_process_call(plain(), "/etcdserverpb.KV/Put", &put, &err), "%s", err.text);
	CHECKF(read_for(f, &r, 1, 5000) == 0, "%s", f->err.text);
	CHECK_INT(r.total, 2);
	CHECK_INT(r.kv_count, 1);
	CHECK_STR(r.kvs[0].key, "n/1");
}

TEST(prefix_that_ends_in_ff_has_the_right_end)
{
	AUTO(fixture_free) struct fixture *f = fixture_new(plain()->address);
	struct etcd_range r[] = {{.key = "f\xff", .prefix = true}, {.key = "\xff", .prefix = true}};

	etcd_process_put(plain(), "f\xff", "");
	etcd_process_put(plain(),
			 "f\xff\xff"
			 "1",
			 "");
	etcd_process_put(plain(), "f\xfe", "");
	etcd_process_put(plain(), "g", "");
	CHECKF(read_for(f, r, 2, 5000) == 0, "%s", f->err.text);
	CHECK_INT(r[0].kv_count, 2);
	CHECK_INT(r[1].kv_count, 0);
}

TEST(most_ranges_of_one_read)
{
	AUTO(fixture_free) struct fixture *f = fixture_new(plain()->address);
	struct etcd_range r[ETCD_MAX_RANGES];

	for (size_t i = 0; i < ARRAY_LEN(r); i++)
		r[i] = (struct etcd_range){.key = i % 2 ? "a/1" : "a/2"};
	CHECKF(read_for(f, r, ARRAY_LEN(r), 5000) == 0, "%s", f->err.text);
	for (size_t i = 0; i < ARRAY_LEN(r); i++)
		CHECK_STR(r[i].kvs[0].key, r[i].key);
	CHECKF(read_for(f, NULL, 0, 5000) == 0, "%s", f->err.text);
}

TEST(small_reads_a_second_over_one_connection)
{
	AUTO(fixture_free) struct fixture *f = fixture_new(plain()->address);
	int64_t begin = clock_mono_ms();
	int n = 1000;

	for (int i = 0; i < n; i++) {
		CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
		arena_reset(f->arena);
	}
	begin = clock_mono_ms() - begin;
	printf("# %d reads in %lld ms: %lld/s\n", n, (long long)begin,
	       n * 1000LL / (long long)(begin ? begin : 1));
	CHECKF(begin < 20000, "%lld ms", (long long)begin);
}

TEST(killed_and_restarted_etcd_is_found_again)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(false);
	AUTO(fixture_free) struct fixture *f = fixture_new(p->address);
	uint64_t cluster;

	fails(f, ERR_SOURCE_LOST, "connection refused; is the server running");
	etcd_process_start(p);
	etcd_process_put(p, "a/1", "x");
	CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
	cluster = f->answer.cluster_id;
	etcd_process_kill(p);
	fails(f, ERR_SOURCE_LOST, "connection refused");
	CHECKF(strstr(f->err.text, p->address), "%s", f->err.text);
	etcd_process_start(p);
	CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
	CHECK(f->answer.cluster_id == cluster);
	/* restarted while nobody looked: not even one failure */
	etcd_process_kill(p);
	etcd_process_start(p);
	CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
}

static bool stop_when(void *arg)
{
	return atomic_load((atomic_int *)arg) != 0;
}

static bool count_polls(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
	return false;
}

TEST(frozen_etcd_costs_the_deadline_and_poll_ends_it)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(false);
	AUTO(fixture_free) struct fixture *f = fixture_new(p->address);
	atomic_int polls = 0, stop = 1;

	etcd_process_start(p);
	f->e = etcd_new(&f->conf, count_polls, &polls);
	CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
	etcd_process_signal(p, SIGSTOP);
	CHECK_INT(read_one(f, "a/1", 1000), -ERR_SOURCE_LOST);
	CHECKF(strstr(f->err.text, "timed out after 1 s"), "%s", f->err.text);
	CHECKF(f->ms >= 900 && f->ms < 1400, "%lld ms", (long long)f->ms);
	CHECKF(atomic_load(&polls) >= 4, "%d polls in 1 s", atomic_load(&polls));
	etcd_free(f->e);
	f->e = etcd_new(&f->conf, stop_when, &stop);
	CHECK_INT(read_one(f, "a/1", 10000), -ERR_STOPPED);
	CHECKF(f->ms < 300, "%lld ms", (long long)f->ms);
	atomic_store(&stop, 0);
	etcd_process_signal(p, SIGCONT);
	CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
}

TEST(next_endpoint_is_taken_when_one_fails_and_kept)
{
	char closed[32];
	AUTO(fixture_free) struct fixture *f = fixture_new(closed);

	snprintf(closed, sizeof(closed), "127.0.0.1:%d", fake_free_port());
	f->address[1] = (char *)(uintptr_t) "no address";
	f->address[2] = plain()->address;
	for (int i = 0; i < 5; i++)
		CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
	f->address[2] = NULL;
	etcd_free(f->e);
	f->e = NULL;
	/* what heals by itself decides, and both are told */
	fails(f, ERR_SOURCE_LOST, "connection refused");
	CHECKF(strstr(f->err.text, "sourceConfig.etcd.address: "), "%s", f->err.text);
	f->address[0] = f->address[1];
	f->address[1] = NULL;
	etcd_free(f->e);
	f->e = NULL;
	fails(f, ERR_SOURCE_FOREIGN, "sourceConfig.etcd.address: ");
	f->address[0] = NULL;
	etcd_free(f->e);
	f->e = NULL;
	fails(f, ERR_NO_SOURCE, "empty");
}

TEST(silent_endpoint_costs_only_its_share_and_only_once)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(false);
	AUTO(fixture_free) struct fixture *f = fixture_new(p->address);

	etcd_process_start(p);
	f->address[1] = plain()->address;
	CHECKF(read_one(f, "a/1", 2000) == 0, "%s", f->err.text);
	etcd_process_signal(p, SIGSTOP);
	CHECKF(read_one(f, "a/1", 2000) == 0, "%s", f->err.text);
	CHECKF(f->ms >= 900 && f->ms < 1800, "%lld ms", (long long)f->ms);
	CHECKF(read_one(f, "a/1", 2000) == 0, "%s", f->err.text);
	CHECKF(f->ms < 500, "%lld ms", (long long)f->ms);
}

TEST(password_right_wrong_and_missing)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(false);
	AUTO(fixture_free) struct fixture *good = fixture_new(p->address);
	AUTO(fixture_free) struct fixture *bad = fixture_new(p->address);
	AUTO(fixture_free) struct fixture *none = fixture_new(p->address);
	AUTO(fixture_free) struct fixture *early = fixture_new(p->address);
	struct etcd_range other = {.key = "b/", .prefix = true};

	etcd_process_start(p);
	good->conf.enable_auth = bad->conf.enable_auth = early->conf.enable_auth = true;
	good->conf.username = bad->conf.username = early->conf.username = (char *)(uintptr_t) "reader";
	good->conf.password = early->conf.password = (char *)(uintptr_t) "readerpw";
	bad->conf.password = (char *)(uintptr_t) "Tr0ub4dor";
	CHECKF(read_one(early, "a/1", 5000) == 0, "%s", early->err.text); /* authentication is off yet */
	etcd_process_put(p, "a/1", "x");
	etcd_process_auth(p, "a/");
	for (int i = 0; i < 3; i++)
		CHECKF(read_one(good, "a/1", 5000) == 0, "%s", good->err.text);
	CHECKF(read_one(early, "a/1", 5000) == 0, "%s", early->err.text);
	fails(bad, ERR_SOURCE_AUTH,
	      "user 'reader' is refused, check sourceConfig.etcd.username and password");
	CHECKF(!strstr(bad->err.text, "Tr0ub4dor"), "%s", bad->err.text);
	fails(none, ERR_SOURCE_AUTH, "set sourceConfig.etcd.enableAuth");
	CHECK_INT(read_for(good, &other, 1, 5000), -ERR_SOURCE_AUTH);
	CHECKF(strstr(good->err.text, "permission denied"), "%s", good->err.text);
	printf("# %s\n", good->err.text);
	CHECKF(read_one(good, "a/1", 5000) == 0, "%s", good->err.text);
	/* a restarted etcd has forgotten its tokens */
	etcd_process_kill(p);
	etcd_process_start(p);
	CHECKF(read_one(good, "a/1", 5000) == 0, "%s", good->err.text);
}

TEST(token_is_renewed_when_users_change)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(false);
	AUTO(fixture_free) struct fixture *f = fixture_new(p->address);
	AUTO_BUF struct buf req = {0};
	struct err err;

	etcd_process_start(p);
	etcd_process_put(p, "a/1", "x");
	etcd_process_auth(p, "a/");
	f->conf.enable_auth = true;
	f->conf.username = (char *)(uintptr_t) "reader";
	f->conf.password = (char *)(uintptr_t) "readerpw";
	CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
	pb_put_string(&req, 1, "reader");
	pb_put_string(&req, 2, "newpw"); /* also takes reader's tokens away */
	CHECKF(etcd_process_call(p, "/etcdserverpb.Auth/UserChangePassword", &req, &err), "%s", err.text);
	fails(f, ERR_SOURCE_AUTH, "user 'reader' is refused");
	f->conf.password = (char *)(uintptr_t) "newpw";
	CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
}

TEST(tls_with_client_certificate)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(true);
	AUTO_FREE char *ca = etcd_process_path(p, "ca.pem"), *cert = etcd_process_path(p, "client.pem"),
		       *key = etcd_process_path(p, "client.key"),
		       *other_ca = etcd_process_path(p, "other-ca.pem"),
		       *other = etcd_process_path(p, "other.pem"),
		       *other_key = etcd_process_path(p, "other.key"),
		       *missing = etcd_process_path(p, "missing.pem"),
		       *https = xasprintf("https://%s", p->address);
	struct conf_tls right = {.enable = true, .ca_path = ca, .cert_path = cert, .key_path = key};
	static const char *names[] = {"right CA",
				      "other CA",
				      "no client certificate",
				      "client of another CA",
				      "certificate and key do not match",
				      "no such file",
				      "no such CA",
				      "wrong name"};
	struct {
		struct conf_tls tls;
		int code;
		const char *text;
	} t[] = {
		{right, 0, ""},
		{{.enable = true, .ca_path = other_ca, .cert_path = cert, .key_path = key},
		 ERR_SOURCE_LOST,
		 "check the CA file"},
		{{.enable = true, .ca_path = ca}, ERR_SOURCE_AUTH, "client certificate"},
		{{.enable = true, .ca_path = ca, .cert_path = other, .key_path = other_key},
		 ERR_SOURCE_AUTH,
		 "our client certificate"},
		{{.enable = true, .ca_path = ca, .cert_path = cert, .key_path = other_key},
		 ERR_SOURCE_AUTH,
		 "cannot use the client certificate"},
		{{.enable = true, .ca_path = ca, .cert_path = missing, .key_path = key},
		 ERR_SOURCE_AUTH,
		 "missing.pem"},
		{{.enable = true, .ca_path = missing, .cert_path = cert, .key_path = key},
		 ERR_SOURCE_AUTH,
		 "cannot read the CA certificates"},
		{right, ERR_SOURCE_LOST, "set the server name that the certificate is for"},
	};

	t[7].tls.server_name = (char *)(uintptr_t) "another.test";
	etcd_process_start(p);
	etcd_process_put(p, "a/1", "x");
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		AUTO(fixture_free) struct fixture *f = fixture_new(i % 2 ? https : p->address);

		printf("# %s\n", names[i]);
		f->conf.tls = t[i].tls;
		/* with TLS 1.3 the server's alert races with the end of the connection */
		if (i == 2 || i == 3) {
			CHECK(read_one(f, "a/1", 5000) < 0);
			CHECKF(f->err.code == ERR_SOURCE_AUTH || f->err.code == ERR_SOURCE_LOST, "%s",
			       f->err.text);
			CHECKF(strstr(f->err.text, "client certificate"), "%s", f->err.text);
			printf("# %s: %s\n", err_name(f->err.code), f->err.text);
		} else if (t[i].code)
			fails(f, t[i].code, t[i].text);
		else
			for (int k = 0; k < 3; k++)
				CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
	}
	{
		AUTO(fixture_free) struct fixture *named = fixture_new(p->address);
		AUTO(fixture_free) struct fixture *clear = fixture_new(p->address);

		named->conf.tls = right;
		named->conf.tls.server_name = (char *)(uintptr_t) "etcd.test"; /* no such name in any DNS */
		CHECKF(read_one(named, "a/1", 5000) == 0, "%s", named->err.text);
		fails(clear, ERR_SOURCE_LOST, "the server wants TLS");
		/* killed and restarted: over TLS, too */
		etcd_process_kill(p);
		etcd_process_start(p);
		CHECKF(read_one(named, "a/1", 5000) == 0, "%s", named->err.text);
	}
	{
		AUTO(fixture_free) struct fixture *f = fixture_new(plain()->address);

		f->conf.tls = right;
		fails(f, ERR_SOURCE_LOST, "does not use TLS on this port");
	}
}

TEST(freeing_nothing_is_fine)
{
	etcd_free(NULL);
}

TEST_MAIN()
