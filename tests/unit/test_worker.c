/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded retry: how often a step that fails is called, what is logged of it, what it costs, how it ends. */
#include <cdc/log.h>
#include <cdc/worker.h>

#include "../t.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static atomic_int calls, fail_until;

static int step(void *arg, struct err *err)
{
	(void)arg;
	if (atomic_fetch_add(&calls, 1) + 1 <= atomic_load(&fail_until))
		return err_about(err_set(err, ERR_TARGET_LOST, "away"), err, "by-dev-dml_3");
	return 0;
}

static void fields(void *arg)
{
	log_scope("seq", arg);
	log_scope("lag_ms", "412");
}

static struct worker *start(int cap_ms)
{
	struct worker *w = worker_new(&(struct worker_conf){.name = "tried",
							    .task = "t1",
							    .step = step,
							    .fields = fields,
							    .fields_arg = "77",
							    .idle_ms = 100,
							    .backoff_cap_ms = cap_ms});

	atomic_store(&calls, 0);
	worker_start(w);
	return w;
}

static void end(struct worker *w)
{
	worker_stop(w);
	worker_join(w);
	worker_free(w);
}

static bool until_calls(int n, int64_t ms)
{
	for (int64_t begin = clock_mono_ms(); atomic_load(&calls) < n; poll(NULL, 0, 2))
		if (clock_mono_ms() - begin > ms)
			return false;
	return true;
}

static int64_t cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 50, 100, 200 ... ms, half of each by chance. */
TEST(a_step_that_fails_is_tried_less_and_less_often_and_at_last_every_two_seconds)
{
	int64_t begin = clock_mono_ms(), cpu = cpu_ms();
	struct worker *w;
	struct health h;

	atomic_store(&fail_until, 1000000);
	w = start(0);
	CHECK(until_calls(7, 10000)); /* 25 + 50 + 100 + 200 + 400 + 800 ms at least */
	CHECK(clock_mono_ms() - begin >= 1575);
	begin = clock_mono_ms();
	CHECK(until_calls(9, 6000)); /* never more than 2 s, never less than 1 s apart */
	CHECK(clock_mono_ms() - begin >= 1000);
	CHECK(cpu_ms() - cpu < 500);
	worker_health(w, &h);
	CHECK_INT(h.status, HEALTH_RETRYING);
	CHECK(h.failures >= 8);
	end(w);
}

static char log_path[] = "/tmp/cdc-worker-XXXXXX";

TEST(of_a_failure_that_repeats_the_1st_2nd_4th_8th_and_the_recovery_are_logged)
{
	int old = dup(STDERR_FILENO), fd = mkstemp(log_path), lines = 0;
	static char text[16384];
	struct worker *w;
	ssize_t n;

	CHECK(fd >= 0);
	dup2(fd, STDERR_FILENO);
	log_open(LOG_LVL_INFO);
	atomic_store(&fail_until, 40);
	w = start(2);
	CHECK(until_calls(42, 20000));
	end(w);
	dup2(old, STDERR_FILENO);
	close(old);
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	close(fd);
	unlink(log_path);
	for (const char *p = text; (p = strstr(p, "trying on")); p++)
		lines++;
	CHECKF(lines == 6, "%d: %s", lines, text); /* 1, 2, 4, 8, 16, 32 */
	for (int i = 1; i <= 32; i *= 2) {
		char wanted[40];

		snprintf(wanted, sizeof(wanted), "(failure %d, trying on)", i);
		CHECKF(strstr(text, wanted), "%s: %s", wanted, text);
	}
	CHECKF(strstr(text, "away (failure 1, trying on) worker=tried task=t1 seq=77 lag_ms=412 "
			    "channel=by-dev-dml_3\n"),
	       "%s", text);
	CHECKF(strstr(text, "recovered after 40 failures in "), "%s", text);
	CHECKF(strstr(strstr(text, "recovered"), "task=t1 seq=77 lag_ms=412\n"), "%s", text);
	CHECKF(!strstr(text, "failures in -"), "%s", text);
}

TEST(a_wake_ends_a_back_off_at_once)
{
	struct worker *w;
	int64_t begin;
	int n;

	atomic_store(&fail_until, 1000000);
	w = start(60000);
	CHECK(until_calls(7, 10000)); /* the next try is 1.6 s away at least */
	begin = clock_mono_ms();
	n = atomic_load(&calls);
	worker_wake(w);
	CHECK(until_calls(n + 1, 5000));
	CHECK(clock_mono_ms() - begin < 1000);
	end(w);
}

TEST_MAIN()
