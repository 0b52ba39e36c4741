/* SPDX-License-Identifier: Apache-2.0 */
/*
 * milvus-cdc journal [--config FILE] [--pending] [DIR], and DIR/tasks/ID --tail N. A task whose files cannot
 * be read is a line as well, and counts as pending: a script that removes the directory must not take
 * "unknown" for "nothing".
 */
#include "journal_tool.h"

#include "journal_peek.h"

#include <cdc/conf.h>

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum { EXIT_USAGE = 64, EXIT_CONFIG = 78 };
#define TAIL_MAX 1000000

DEFINE_AUTO(sqlite3, sqlite3_close)
DEFINE_AUTO(sqlite3_stmt, sqlite3_finalize)

static int usage(FILE *f, int code)
{
	fputs("Usage: milvus-cdc journal [--config FILE] [--pending] [DIR]\n"
	      "       milvus-cdc journal DIR/tasks/ID --tail N\n\n"
	      "Prints what the journal of each task in DIR holds. The service may be running.\n\n"
	      "  -c, --config FILE    DIR is the dataDir of this configuration\n"
	      "      --pending        only tasks with changes that are not on the target; exit 1 if any\n"
	      "      --tail N         the last N entries of the journal of one task\n"
	      "  -h, --help           print this text\n\n"
	      "Without both, DIR is /var/lib/milvus-cdc.\n",
	      f);
	return code;
}

/* "2024-05-01 12:30:00 UTC" */
static const char *time_text(cdc_ts ts, char *ret, size_t n)
{
	time_t t = (time_t)(ts_ms(ts) / 1000);
	struct tm tm;

	if (!ts || !gmtime_r(&t, &tm) || !strftime(ret, n, "%Y-%m-%d %H:%M:%S UTC", &tm))
		snprintf(ret, n, "never");
	return ret;
}

/*
 * Names of folders and files, and errors about them: what a copied or damaged directory has for a name must
 * not steer the terminal, or make lines of its own.
 */
static void print_name(const char *s)
{
	for (; *s; s++)
		putchar(*s >= ' ' && *s <= '~' ? *s : '?');
}

static void print_size(int64_t bytes)
{
	if (bytes < 1 << 20)
		printf("%.0f KiB", (double)bytes / 1024);
	else if (bytes < 1 << 30)
		printf("%.1f MiB", (double)bytes / (1 << 20));
	else
		printf("%.1f GiB", (double)bytes / (1 << 30));
}

static const char *plural(int64_t n)
{
	return n == 1 ? "" : "s";
}

static void print_pending(const struct peek_task *t)
{
	char text[64];

	print_name(t->id);
	printf(": %" PRId64 " change%s (%" PRId64 " row%s) not on the target", t->pending, plural(t->pending),
	       t->pending_rows, plural(t->pending_rows));
	if (t->holds)
		printf(", %d collection%s on hold", t->holds, plural(t->holds));
	printf("; complete up to %s\n", time_text(t->applied_ts, text, sizeof(text)));
}

static void print_task(const struct peek_task *t)
{
	char text[64];

	printf("task ");
	print_name(t->id);
	printf("\n  journal      %d file%s, ", t->segments, plural(t->segments));
	print_size(t->bytes);
	printf(" (%" PRId64 " bytes)\n", t->bytes);
	printf("  entries      %" PRId64 " to %" PRId64 "\n", t->first_seq, t->last_seq);
	printf("  last change  %s\n", time_text(t->last_ts, text, sizeof(text)));
	printf("  applied      up to entry %" PRId64 ", the target is complete up to %s\n", t->applied_seq,
	       time_text(t->applied_ts, text, sizeof(text)));
	printf("  pending      %" PRId64 " entr%s, %" PRId64 " row%s\n", t->pending,
	       t->pending == 1 ? "y" : "ies", t->pending_rows, plural(t->pending_rows));
	printf("  on hold      %d collection%s\n", t->holds, plural(t->holds));
}

/* 1: something is pending, or cannot be known. */
static int show_task(const char *data_dir, const char *id, bool pending_only)
{
	AUTO_FREE char *dir = xasprintf("%s/tasks/%s", data_dir, id);
	struct peek_task t = {0};
	struct err err = {0};
	int pending;

	if (peek_task(&t, dir, true, &err) < 0) {
		printf("%s", pending_only ? "" : "task ");
		print_name(id);
		printf(": not known: ");
		print_name(err.text);
		putchar('\n');
		return 1;
	}
	pending = t.pending > 0 || t.holds > 0;
	if (!pending_only)
		print_task(&t);
	else if (pending)
		print_pending(&t);
	peek_task_clear(&t);
	return pending_only && pending;
}

static int show_all(const char *data_dir, bool pending_only)
{
	char **ids = NULL;
	struct err err = {0};
	size_t n = 0;
	int code = 0;

	if (peek_names(&ids, &n, data_dir, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	for (size_t i = 0; i < n; i++)
		code |= show_task(data_dir, ids[i], pending_only);
	if (!n && !pending_only)
		printf("%s: no tasks\n", data_dir);
	peek_names_free(ids, n);
	return code;
}

/* ---- the last entries ---- */

/* Prints the last n entries of a file, oldest first. */
static int print_tail(const char *path, int64_t n, struct err *err)
{
	AUTO(sqlite3_close) sqlite3 *db = NULL;
	AUTO(sqlite3_finalize) sqlite3_stmt *q = NULL;
	int rc = peek_open(&db, path, err), step;

	if (rc < 0)
		return rc;
	/* the view's rows, found by the entries' key */
	if (sqlite3_prepare_v2(db,
			       "SELECT seq, time, kind, collection, channel, rows, size FROM log WHERE seq >="
			       " (SELECT min(seq) FROM (SELECT seq FROM entry ORDER BY seq DESC LIMIT ?1))",
			       -1, &q, NULL) != SQLITE_OK)
		return err_set(err, ERR_STATE_IO, "%s: cannot be read: %s", path, sqlite3_errmsg(db));
	sqlite3_bind_int64(q, 1, n);
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		for (int i = 0; i < 7; i++)
			printf("%s%s", i ? "|" : "", (const char *)sqlite3_column_text(q, i));
		putchar('\n');
	}
	return step == SQLITE_DONE
		       ? 0
		       : err_set(err, ERR_STATE_IO, "%s: cannot be read: %s", path, sqlite3_errmsg(db));
}

static int count_entries(const char *path, int64_t *ret, struct err *err)
{
	AUTO(sqlite3_close) sqlite3 *db = NULL;
	AUTO(sqlite3_finalize) sqlite3_stmt *q = NULL;
	int rc = peek_open(&db, path, err);

	if (rc < 0)
		return rc;
	if (sqlite3_prepare_v2(db, "SELECT count(*) FROM entry", -1, &q, NULL) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW)
		return err_set(err, ERR_STATE_IO, "%s: cannot be read: %s", path, sqlite3_errmsg(db));
	*ret = sqlite3_column_int64(q, 0);
	return 0;
}

static int show_tail(const char *dir, int64_t n)
{
	char **paths = NULL;
	size_t count = 0, from;
	struct err err = {0};
	int64_t left = n, in_first = 0, have = 0;
	int rc = peek_segments(&paths, &count, dir, &err);

	/* back to the file where it begins, of which the last in_first entries are wanted */
	for (from = count; rc == 0 && from > 0 && left > 0; left -= have) {
		rc = count_entries(paths[--from], &have, &err);
		in_first = left;
	}
	if (rc == 0 && count == 0)
		rc = err_set(&err, ERR_STATE_IO, "%s: there is no journal in it (give DIR/tasks/ID)", dir);
	for (size_t i = from; rc == 0 && i < count; i++)
		rc = print_tail(paths[i], i == from ? in_first : INT64_MAX, &err);
	peek_names_free(paths, count);
	if (rc < 0)
		fprintf(stderr, "%s\n", err.text);
	return rc < 0;
}

/* ---- arguments ---- */

static void no_note(void *arg, const char *file, int line, const char *text)
{
	(void)arg;
	(void)file;
	(void)line;
	(void)text;
}

int journal_tool_main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"pending", no_argument, NULL, 'p'},
						{"tail", required_argument, NULL, 't'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	AUTO(conf_free) struct conf *conf = NULL;
	const char *file = NULL, *dir = "/var/lib/milvus-cdc";
	bool pending = false;
	struct err err = {0};
	int64_t tail = 0;
	char *end = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (opt == 'c')
			file = optarg;
		else if (opt == 'p')
			pending = true;
		else if (opt != 't')
			return usage(opt == 'h' ? stdout : stderr, opt == 'h' ? 0 : EXIT_USAGE);
		else if ((tail = strtoll(optarg, &end, 10)) <= 0 || tail > TAIL_MAX || *end)
			return usage(stderr, EXIT_USAGE);
	}
	if (argc - optind > 1 || (file && optind < argc) || (tail && optind == argc) || (tail && pending))
		return usage(stderr, EXIT_USAGE);
	if (file && conf_load(&conf, file, no_note, NULL, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return EXIT_CONFIG;
	}
	dir = conf ? conf->data_dir : optind < argc ? argv[optind] : dir;
	return tail ? show_tail(dir, tail) : show_all(dir, pending);
}
