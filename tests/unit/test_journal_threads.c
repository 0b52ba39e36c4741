/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting, waking, and a writer, a cursor and a watcher at the same time (run it with VARIANT=tsan). */
#include "journal_kit.h"

#include <cdc/worker.h>

#include <pthread.h>
#include <stdatomic.h>

struct waiter {
	struct journal *j;
	atomic_bool in, out;
	bool there;
};

static void *wait_long(void *arg)
{
	struct waiter *w = arg;

	atomic_store(&w->in, true);
	w->there = journal_wait(w->j, 1000, 1000000, 20000);
	atomic_store(&w->out, true);
	return NULL;
}

TEST(a_wake_ends_the_wait_even_when_it_comes_first)
{
	struct journal *j = kit_open_small(kit_dir());
	struct waiter w = {.j = j};
	int64_t begin = clock_mono_ms();
	pthread_t t;

	journal_wake(j);
	CHECK(!journal_wait(j, 0, 0, 20000));
	pthread_create(&t, NULL, wait_long, &w);
	journal_wake(j); /* before or while it waits */
	pthread_join(t, NULL);
	CHECK(!w.there);
	CHECK(clock_mono_ms() - begin < 10000);
	begin = clock_mono_ms();
	CHECK(!journal_wait(j, 0, 0, 30)); /* the wake was used up */
	CHECK(clock_mono_ms() - begin >= 29);
	kit_add(j, 1);
	CHECK(journal_wait(j, 0, 1000000, 20000));
	CHECK(journal_wait(j, 1000, 99, 20000));
	journal_close(j);
	kit_clean();
}

#define THREAD_CUTS 300

struct threads {
	struct journal *j;
	atomic_llong applied;
	atomic_bool done;
	char error[1200];
};

static void *cursor_thread(void *arg)
{
	struct threads *t = arg;
	struct journal_cursor *c;
	struct err err;
	int64_t seq = 0;
	int cut = 1, i = 0;

	journal_cursor_open(&c, t->j, &err);
	for (bool done = false; !done && !t->error[0];) {
		AUTO(arena_free) struct arena *a = arena_new();
		struct journal_batch b;

		journal_wait(t->j, seq, UINT64_MAX, 100);
		done = atomic_load(&t->done); /* before the read: nothing is appended after it */
		if (journal_read(c, seq, 10 * KIT_BODY, 1000, a, &b, &err) < 0) {
			snprintf(t->error, sizeof(t->error), "%s", err.text);
			break;
		}
		for (size_t n = 0; n < b.count; n++, i++) {
			while (i == kit_entries(cut)) {
				cut++;
				i = 0;
			}
			if (b.entries[n].seq != seq + 1 || !kit_same(&b.entries[n], cut, i, KIT_BODY))
				snprintf(t->error, sizeof(t->error), "entry %lld is wrong",
					 (long long)seq + 1);
			seq++;
			/* complete up to a watermark: everything at or below it was seen */
			if (b.complete && b.entries[n].ts > b.watermark)
				snprintf(t->error, sizeof(t->error), "an entry is above the watermark");
		}
		if (b.complete && b.watermark / 100 >= 1 && kit_total((int)(b.watermark / 100)) != seq)
			snprintf(t->error, sizeof(t->error), "complete at %lld with %lld entries",
				 (long long)b.watermark, (long long)seq);
		atomic_store(&t->applied, seq);
		done = done && b.complete;
	}
	journal_cursor_close(c);
	return NULL;
}

static void *stat_thread(void *arg)
{
	struct threads *t = arg;
	struct journal_stat st, old = {0};

	while (!atomic_load(&t->done)) {
		AUTO(arena_free) struct arena *a = arena_new();
		struct position *positions;
		struct state_row *rows;

		/* the API asks for both while the writer replaces them */
		for (size_t n = journal_positions(t->j, a, &positions); n-- > 0;)
			if (!positions[n].pchannel[0] || positions[n].ts > 100 * THREAD_CUTS)
				snprintf(t->error, sizeof(t->error), "a position is none");
		for (size_t n = journal_state(t->j, a, &rows); n-- > 0;)
			if (!rows[n].key[0] || !rows[n].value)
				snprintf(t->error, sizeof(t->error), "a state row is none");
		journal_stat(t->j, &st);
		if (st.last_seq < old.last_seq || st.watermark < old.watermark ||
		    st.rows_captured < old.rows_captured)
			snprintf(t->error, sizeof(t->error), "the journal's numbers went back");
		old = st;
		journal_wait(t->j, st.last_seq, st.watermark, 1);
	}
	return NULL;
}

TEST(one_writer_a_cursor_and_a_watcher_share_a_journal)
{
	struct threads t = {.j = kit_open(&(struct journal_options){.segment_size = 60000}, kit_dir())};
	pthread_t reader, watcher;
	struct err err = {0};
	int removed = 0, rc = 0;

	pthread_create(&reader, NULL, cursor_thread, &t);
	pthread_create(&watcher, NULL, stat_thread, &t);
	for (int k = 1; k <= THREAD_CUTS && rc >= 0; k++) {
		rc = kit_append(t.j, k, KIT_BODY, &err);
		if (rc >= 0 && k % 10 == 0 && (rc = journal_trim(t.j, atomic_load(&t.applied), &err)) > 0)
			removed += rc;
	}
	atomic_store(&t.done, true);
	pthread_join(reader, NULL);
	pthread_join(watcher, NULL);
	CHECKF(rc >= 0, "%s", err.text);
	CHECKF(!t.error[0], "%s", t.error);
	CHECK_INT(atomic_load(&t.applied), kit_total(THREAD_CUTS));
	removed += journal_trim(t.j, atomic_load(&t.applied), &err);
	CHECK(removed > 3);
	journal_close(t.j);
	kit_clean();
}

TEST_MAIN()
