/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply.db on a disk that fails or loses power at the Nth call, N = 1, 2, 3 ...: what was
 * acknowledged is there (J4), mark, intent and object are always of the same commit (J6), and what
 * failed can be done again.
 */
#include "../t.h"

#include "../../src/data/apply_store.h"
#include "fault_vfs.h"

#include <unistd.h>

#define STEPS 8

static const char *fresh(void)
{
	static char path[200];
	static const char *const suffix[] = {"", "-wal", "-shm", "-journal"};

	snprintf(path, sizeof(path), "%s/cdc-apply-fault-%d.db",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		char p[220];

		snprintf(p, sizeof(p), "%s%s", path, suffix[i]);
		unlink(p);
	}
	return path;
}

static int put(struct apply_store *s, int i, struct err *err)
{
	uint8_t value = (uint8_t)i;
	struct state_row o = {"coll/1", &value, 1};
	struct apply_mark m = {i, (cdc_ts)i * 10, (cdc_ts)i * 10, i};
	struct apply_intent next = {INTENT_DATA, i + 1, (cdc_ts)(i + 1) * 10, 5, 1, 100};

	return apply_store_commit(s, &m, &next, &o, 1, err);
}

/* Everything is of one commit; returns which. */
static int at(struct apply_store *s)
{
	AUTO(arena_free) struct arena *a = arena_new();
	struct apply_mark m;
	struct apply_intent in;
	struct state_row *o;
	struct err err = {0};
	size_t n;

	apply_store_mark(s, &m);
	apply_store_intent(s, &in);
	CHECKF(apply_store_objects(s, "", a, &o, &n, &err) == 0, "%s", err.text);
	CHECK_INT(n, m.seq ? 1 : 0);
	if (m.seq) {
		CHECK_INT(o[0].value[0], m.seq);
		CHECK_INT(in.type, INTENT_DATA);
		CHECK_INT(in.seq, m.seq + 1);
		CHECK_INT(m.ts, m.seq * 10);
		CHECK_INT(m.rows_applied, m.seq);
	} else {
		CHECK_INT(in.type, INTENT_NONE);
	}
	return (int)m.seq;
}

static int scenario(const char *path, int tries)
{
	struct apply_store *s = NULL;
	struct err err = {0};
	int done = 0, rc;

	while ((rc = apply_store_open(&s, path, fault_vfs(), &err)) < 0 && tries-- > 0)
		CHECKF(rc == -ERR_STATE_IO, "%s: %s", err_name(err.code), err.text);
	if (rc < 0)
		return 0;
	for (int i = 1; i <= STEPS; i++) {
		struct apply_mark m;

		while ((rc = put(s, i, &err)) < 0) {
			CHECKF(rc == -ERR_STATE_IO, "%s: %s", err_name(err.code), err.text);
			apply_store_mark(s, &m);
			CHECK_INT(m.seq, i - 1);
			if (tries-- <= 0)
				goto out;
		}
		done = i;
	}
out:
	apply_store_close(s);
	return done;
}

static void check(const char *path, int done, int n)
{
	struct apply_store *s = NULL;
	struct err err = {0};
	int i;

	CHECKF(apply_store_open(&s, path, NULL, &err) == 0, "N = %d: %s", n, err.text);
	i = at(s);
	CHECKF(i >= done, "N = %d: %d was acknowledged, the file says %d", n, done, i);
	CHECKF(i <= done + 1, "N = %d: %d was never sent", n, i);
	CHECKF(put(s, i + 1, &err) == 0, "N = %d: %s", n, err.text);
	CHECK_INT(at(s), i + 1);
	apply_store_close(s);
}

static void loop(enum fault how, bool forever, int tries)
{
	int n, fired = 0;

	for (n = 1;; n++, fired++) {
		const char *path = fresh();
		int done;
		bool hit;

		fault_arm(how, n, forever);
		done = scenario(path, tries);
		hit = fault_disarm();
		check(path, done, n);
		if (!hit) {
			CHECK_INT(done, STEPS);
			break;
		}
		CHECK(n < 1000);
	}
	CHECKF(fired > 10, "only %d points", fired);
	fresh();
}

TEST(J4_an_io_error_at_any_call)
{
	loop(FAULT_EIO, false, 3);
}

TEST(J4_a_process_killed_at_any_call)
{
	loop(FAULT_EIO, true, 0);
}

TEST(J4_a_full_disk_at_any_call)
{
	loop(FAULT_FULL, false, 3);
	loop(FAULT_FULL, true, 1);
}

TEST(J4_a_short_write_at_any_call)
{
	loop(FAULT_SHORT, false, 3);
}

TEST(J4_a_failing_sync)
{
	loop(FAULT_SYNC, false, 3);
}

TEST(J4_power_loss_at_any_call)
{
	int points = 0;

	for (unsigned seed = 0; seed < 4; seed++)
		for (int n = 1;; n++) {
			const char *path = fresh();
			int done;

			power_on();
			power_fail_at(n);
			done = scenario(path, 0);
			points += power_lose(seed ? seed * 104729 + (unsigned)n : 0) > 0;
			check(path, done, n);
			if (done == STEPS)
				break;
			CHECK(n < 1000);
		}
	CHECKF(points > 20, "only %d points", points);
	fresh();
}

TEST_MAIN()
