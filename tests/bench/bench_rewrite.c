/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast windows are rewritten: source bytes and messages a second of rewrite_window(), merging
 * included, of one core (thread CPU time: rewriting does no I/O, and other load does not count).
 * Usage: bench_rewrite [seconds per case]. The aim is > 500 MB/s.
 */
#include "../unit/rewrite_kit.h"

#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void bench(const char *what, int messages, int rows, const struct kit_column *columns, size_t n,
		  size_t limit, bool del, double seconds)
{
	AUTO(kit_free) struct kit *k = kit_new();
	AUTO(arena_free) struct arena *arena = arena_new();
	double start, took, bytes = 0;
	size_t windows = 0, out = 0;
	struct err err;

	k->conf.merge_limit = limit;
	for (int i = 0; i < messages; i++) {
		struct kit_msg m = {.ts = 470612947756908546,
				    .shard = i % 2,
				    .first = i * rows,
				    .rows = rows,
				    .columns = columns,
				    .column_count = n,
				    .msg_id = (uint64_t)i + 1};

		bytes += (double)(del ? kit_delete(k, &m) : kit_insert(k, &m))->size;
	}
	start = now();
	do {
		arena_reset(arena);
		if (rewrite_window(&k->conf, k->entries, k->out, k->n, arena, &k->result, &err) < 0 ||
		    k->result.refusal_count) {
			fprintf(stderr, "%s: %s\n", what,
				k->result.refusal_count ? k->result.refusals[0].reason : err.text);
			exit(1);
		}
		out = k->result.message_count;
		windows++;
		took = now() - start;
	} while (took < seconds);
	printf("%-28s %5d messages of %8.0f bytes -> %5zu: %7.0f MB/s %9.0f messages/s\n", what, messages,
	       bytes / messages, out, bytes * (double)windows / took / 1e6,
	       (double)messages * (double)windows / took);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
	struct kit_column all[32];
	const struct kit_column small[] = {{.type = 5, .id = 100}, {.type = 101, .id = 101, .dim = 8}};
	const struct kit_column wide[] = {{.type = 5, .id = 100},
					  {.type = 21, .id = 101},
					  {.type = 103, .id = 102, .dim = 768},
					  {.type = 23, .id = 103, .dynamic = true}};
	const struct kit_column narrow[] = {
		{.type = 5, .id = 100}, {.type = 21, .id = 101}, {.type = 4, .id = 102}};
	size_t n = kit_all_types(all, KIT_PACKED, KIT_PLAIN);

	bench("one row, merged", 4000, 1, small, 2, 4 << 20, false, seconds);
	bench("one row, not merged", 4000, 1, small, 2, 0, false, seconds);
	bench("ten rows of 768 dims, merged", 2000, 10, wide, 4, 4 << 20, false, seconds);
	bench("bulk of 768 dims", 8, 3000, wide, 4, 4 << 20, false, seconds);
	bench("numbers and short texts", 40, 3000, narrow, 3, 4 << 20, false, seconds);
	bench("every type, merged", 1000, 20, all, n, 4 << 20, false, seconds);
	bench("deletes of 100 keys", 4000, 100, NULL, 0, 4 << 20, true, seconds);
	return 0;
}
