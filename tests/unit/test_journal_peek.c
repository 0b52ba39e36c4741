/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a task's folder beside its writer, after its death, and as a copy; nothing is changed by it. */
#include "journal_kit.h"

#include "../../src/control/journal_peek.h"
#include "../../src/control/journal_tool.h"
#include "../../src/data/apply_store.h"
#include "../../src/data/holds.h"

#include <getopt.h>
#include <stdarg.h>
#include <unistd.h>

static struct err err;
static char *task; /* the folder */
static const char *root;

static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	CHECKF(system(cmd) == 0, "%s", cmd);
}

/* A journal of cuts 1..k, open; small files. */
static struct journal *journal(int k)
{
	AUTO_FREE char *dir = NULL;
	struct journal *j;

	free(task);
	root = kit_dir();
	task = xasprintf("%s/tasks/t %%1?", root); /* a name that a URI would take apart */
	sh("mkdir -p '%s'", task);
	dir = xasprintf("%s/journal", task);
	CHECKF(journal_open(
		       &j, dir,
		       &(struct journal_options){.segment_size = 40000, .max_size = 1 << 30, .keep_s = 3600},
		       &err) == 0,
	       "%s", err.text);
	for (int i = 1; i <= k; i++)
		CHECK_INT(kit_append(j, i, KIT_BODY, &err), 0);
	return j;
}

/* Applied up to seq; the collection of a cut on hold from there on, 0: none. */
static void applied(int64_t seq, int64_t held_collection, int64_t held_seq)
{
	AUTO_FREE char *path = xasprintf("%s/apply.db", task);
	AUTO(arena_free) struct arena *a = arena_new();
	AUTO(apply_store_close) struct apply_store *s = NULL;
	struct hold h = {.collection_id = held_collection,
			 .seq = held_seq,
			 .db = (char *)"default",
			 .collection = (char *)"c",
			 .reason = (char *)"no"};
	struct state_row o = holds_store(&h, a);
	struct apply_mark mark = {.seq = seq, .ts = 5, .out = 5};

	CHECKF(apply_store_open(&s, path, NULL, &err) == 0, "%s", err.text);
	CHECKF(apply_store_commit(s, &mark, NULL, &o, held_collection ? 1 : 0, &err) == 0, "%s", err.text);
}

static void is(int k, int64_t seq, int64_t held)
{
	struct peek_task t;

	CHECKF(peek_task(&t, task, true, &err) == 0, "%s", err.text);
	CHECK_STR(t.id, "t %1?");
	CHECK_INT(t.first_seq, 1);
	CHECK_INT(t.last_seq, kit_total(k));
	CHECK_INT(t.applied_seq, seq);
	CHECK_INT(t.pending, kit_total(k) - seq + held);
	CHECK_INT(t.pending_rows, 7 * (kit_total(k) - seq + held));
	CHECK_INT(t.holds, held ? 1 : 0);
	CHECK(t.segments > 1 && t.bytes > 0);
	CHECK_INT(t.position_count, 2);
	CHECK_INT(t.positions[0].next.lo, k * 10 + 5);
	peek_task_clear(&t);
}

TEST(a_journal_is_read_beside_its_writer_which_goes_on)
{
	struct journal *j = journal(24);

	applied(0, 0, 0);
	is(24, 0, 0);
	CHECK_INT(kit_append(j, 26, KIT_BODY, &err), 0);
	CHECK_INT(kit_append(j, 27, KIT_BODY, &err), 0);
	journal_close(j);
	kit_clean();
}

TEST(what_is_not_on_the_target_is_above_the_mark_or_on_hold)
{
	struct journal *j = journal(24);

	applied(20, 0, 0);
	is(24, 20, 0);
	/* cut 4 has two entries of one collection, the entries 7 and 8 */
	CHECK_INT(kit_total(3), 6);
	applied(21, 440000000000000000 + 4, 7);
	is(24, 21, 2);
	journal_close(j);
	is(24, 21, 2);
	kit_clean();
}

TEST(a_dead_ones_folder_and_a_copy_are_read_and_not_changed)
{
	struct journal *j = journal(24);
	char *here;

	applied(11, 0, 0);
	/* the files as they are while the writer has them open, with and without SQLite's indexes */
	sh("cp -a '%s' %s/dead && cp -a '%s' %s/copy && rm %s/copy/journal/*-shm", task, root, task, root,
	   root);
	journal_close(j);
	for (int i = 0; i < 2; i++) {
		AUTO_FREE char *from = xasprintf("%s/%s", root, i ? "copy" : "dead");

		here = xasprintf("%s/%d/t %%1?", root, i);
		sh("mkdir -p %s/%d && mv %s '%s'", root, i, from, here);
		sh("cd '%s' && ls -lR --time-style=full-iso >%s/before && sha1sum * */* >>%s/before 2>&1; "
		   "true",
		   here, root, root);
		free(task);
		task = here;
		is(24, 11, 0);
		sh("cd '%s' && ls -lR --time-style=full-iso >%s/after && sha1sum * */* >>%s/after 2>&1; true",
		   here, root, root);
		sh("cmp %s/before %s/after", root, root);
	}
	kit_clean();
}

TEST(files_of_a_newer_version_are_refused_with_the_reason)
{
	struct peek_task t;

	journal_close(journal(3));
	applied(1, 0, 0);
	sh("f=$(ls '%s'/journal/*.db | tail -n 1); chmod u+w \"$f\"; sqlite3 \"$f\" 'PRAGMA user_version = "
	   "99'",
	   task);
	CHECK_INT(peek_task(&t, task, true, &err), -ERR_JOURNAL_NEWER);
	CHECKF(strstr(err.text, "newer version (schema 99"), "%s", err.text);
	kit_clean();
}

TEST(a_damaged_file_is_an_error_and_not_an_empty_journal)
{
	struct peek_task t;

	journal_close(journal(3));
	sh("f=$(ls '%s'/journal/*.db | tail -n 1); chmod u+w \"$f\"; head -c 20000 /dev/zero >\"$f\"", task);
	CHECK_INT(peek_task(&t, task, true, &err), -ERR_STATE_IO);
	kit_clean();
}

/* What `milvus-cdc journal [--pending]` prints of the root, and its status. */
static char *tool(bool pending, int *ret_status)
{
	static char printed[4096];
	char name[] = "journal", option[] = "--pending",
	     *argv[] = {name, pending ? option : (char *)root, (char *)root, NULL};
	int saved = dup(STDOUT_FILENO);
	FILE *f = tmpfile();

	fflush(stdout);
	dup2(fileno(f), STDOUT_FILENO);
	optind = 0; /* from the start again */
	*ret_status = journal_tool_main(pending ? 3 : 2, argv);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	rewind(f);
	printed[fread(printed, 1, sizeof(printed) - 1, f)] = 0;
	fclose(f);
	return printed;
}

TEST(a_folders_name_neither_steers_the_terminal_nor_makes_a_line)
{
	static const char name[] = "a\nb: 0 changes\x1b[2J\x9b\xc2\x9b";
	AUTO_FREE char *bad = NULL, *moved = NULL;

	journal_close(journal(24));
	applied(1, 0, 0);
	moved = xasprintf("%s/tasks/%s", root, name);
	CHECK_INT(rename(task, moved), 0);
	for (int damaged = 0; damaged < 2; damaged++)
		for (int pending = 0; pending < 2; pending++) {
			int status, lines = 0;
			const char *text = tool(pending, &status);

			for (const char *p = text; *p; p++) {
				CHECKF(*p == '\n' || (*p >= ' ' && *p <= '~'), "byte %x", *p);
				lines += *p == '\n';
			}
			CHECKF(strstr(text, "a?b: 0 changes?[2J???"), "%s", text);
			CHECKF(lines == 1 || (!pending && !damaged), "%s", text);
			CHECK_INT(status, pending || damaged);
			if (pending && !damaged) {
				bad = xasprintf("%s/apply.db", moved);
				CHECK_INT(truncate(bad, 100), 0);
			}
		}
	kit_clean();
}

TEST_MAIN()
