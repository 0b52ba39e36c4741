/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One task's data path: opens journal and apply.db, ties reader and applier to their threads, and
 * answers control. Journal rows and a wake-up are all that reader and applier share.
 */
#include "applier.h"
#include "flow_positions.h"
#include "lag.h"
#include "reader.h"
#include "target_gate.h"

#include <cdc/flow.h>
#include <cdc/log.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_RESERVE_MS 2000

struct flow {
	/* constant after open */
	const struct conf *conf;
	char *task_id, *dir, *target_key;
	struct selection selection;
	struct name_map names;
	bool users;
	struct target_conf *target;
	struct journal *journal;
	struct apply_store *store;
	struct sink *sink;
	const struct sink_ops *sink_ops;
	struct reader *reader;
	struct applier *applier;
	struct worker *reader_worker, *applier_worker;
};

static bool reader_stopping(void *arg)
{
	struct flow *f = arg;

	return f->reader_worker && worker_stopping(f->reader_worker);
}

static bool applier_stopping(void *arg)
{
	struct flow *f = arg;

	if (f->applier_worker && worker_stopping(f->applier_worker))
		return true;
	if (f->applier_worker)
		worker_pulse(
			f->applier_worker); /* a target that does not answer is not a hang of ours (R33) */
	return false;
}

/* The fields of a line: where the thread stands in the journal, and how far behind the target is. */
static void set_fields(struct flow *f, bool reading)
{
	struct flow_status st;

	flow_status(f, &st);
	log_scope_number("seq", reading ? st.last_seq : st.applied_seq);
	log_scope_number("lag_ms", st.lag_ms);
}

static void reader_fields(void *arg)
{
	set_fields(arg, true);
}

static void applier_fields(void *arg)
{
	set_fields(arg, false);
}

static void on_applied(void *arg, int64_t seq)
{
	struct flow *f = arg;

	reader_applied(f->reader, seq);
}

static void on_note(void *arg, const char *text)
{
	(void)arg; /* the thread's scope names the task */
	log_event(NOT_REPLICATED, "%s", text);
}

static void on_hold(void *arg, const struct applier_note *n)
{
	AUTO_FREE char *collection = xasprintf("%s.%s", n->db, n->collection);

	applier_fields(arg);
	log_scope("collection", collection);
	log_scope_number("seq", n->seq);
	if (n->over)
		log_event(COLLECTION_RELEASED, "%s", n->text);
	else
		log_event(COLLECTION_HELD, "%s", n->text);
	log_scope("collection", NULL);
	log_scope("seq", NULL);
	log_scope("lag_ms", NULL);
}

static int open_journal(struct flow *f, int64_t min_seq, struct err *err)
{
	AUTO_FREE char *dir = xasprintf("%s/journal", f->dir);
	struct journal_options o = {.segment_size = f->conf->journal.segment_size,
				    .max_size = f->conf->journal.max_size,
				    .keep_s = f->conf->journal.keep_s,
				    .min_seq = min_seq};

	return journal_open(&f->journal, dir, &o, err);
}

static int open_store(struct flow *f, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/apply.db", f->dir);

	return apply_store_open(&f->store, path, NULL, err);
}

static bool has_segments(const struct flow *f)
{
	AUTO_FREE char *path = xasprintf("%s/journal", f->dir);
	DIR *d = opendir(path);
	const struct dirent *e;
	bool found = false;

	while (d && !found && (e = readdir(d)))
		found = strstr(e->d_name, ".db") != NULL;
	if (d)
		closedir(d);
	return found;
}

/*
 * flow_create makes apply.db before the journal's first cut. A new one beside a journal would say that
 * nothing is applied, and every row would be sent a second time.
 */
static int check_store(const struct flow *f, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/apply.db", f->dir);
	struct stat st;

	if ((stat(path, &st) == 0 && st.st_size > 0) || !has_segments(f))
		return 0;
	return err_set(err, ERR_JOURNAL_BAD,
		       "%s is missing or empty, but the journal beside it is not: what of it was applied is "
		       "not known. "
		       "Nothing was changed. Restore the file (with its -wal) from a backup that is not "
		       "older than the "
		       "journal; without it, delete the task and create it again",
		       path);
}

/* And the other way round: without a journal neither the start of the task nor its catalog is known. */
static int check_journal(const struct flow *f, struct err *err)
{
	if (journal_watermark(f->journal) > 0)
		return 0;
	return err_set(err, ERR_JOURNAL_BAD,
		       "journal %s/journal is missing or empty: where to read on is not known. Restore the "
		       "folder from a "
		       "backup; without it, delete the task and create it again",
		       f->dir);
}

static int open_reader(struct flow *f, struct err *err)
{
	const struct source_ops *ops = source_select(&f->conf->source);

	if (!ops)
		return err_set(err, ERR_NO_SOURCE, "no source is configured: set sourceConfig in %s",
			       f->conf->file ? f->conf->file : "the configuration");
	return reader_new(&f->reader,
			  &(struct reader_conf){.conf = f->conf,
						.selection = &f->selection,
						.source = ops,
						.journal = f->journal,
						.stopping = reader_stopping,
						.arg = f,
						.users = f->users,
						.note = on_note,
						.note_arg = f},
			  err);
}

static struct flow *flow_new(const struct flow_conf *conf)
{
	struct flow *f = xcalloc(1, sizeof(*f));

	f->conf = conf->conf;
	f->task_id = xstrdup(conf->task_id);
	f->dir = xstrdup(conf->dir);
	f->selection = selection_copy(conf->selection);
	f->names = name_map_copy(conf->names);
	f->users = conf->users;
	f->target = target_conf_copy(conf->target);
	f->target_key = xstrdup(conf->target_key);
	return f;
}

/*
 * R21: rows from before now may be older than ticks that the target was sent by a task that is no more,
 * of this daemon or another. So they are restamped above the source's time, with the reserve by which a
 * restamped tick may be ahead of it.
 */
static int start_reading(struct flow *f, const struct start *start, struct err *err)
{
	cdc_ts floor = 0;
	int rc = reader_start(f->reader, start, &floor, err);

	if (rc < 0 || !floor)
		return rc;
	return apply_store_set_floor(f->store, floor + ts_from_ms(START_RESERVE_MS), err);
}

int flow_create(const struct flow_conf *conf, struct err *err)
{
	struct flow *f = flow_new(conf);
	int rc = 0;

	log_scope("task", f->task_id); /* the thread is a request's */

	if (mkdir(f->dir, 0700) < 0 && errno != EEXIST)
		rc = err_set(err, ERR_STATE_IO, "cannot make folder %s: %s", f->dir, strerror(errno));
	if (rc == 0 && (rc = open_journal(f, 0, err)) == 0 && (rc = open_store(f, err)) == 0 &&
	    (rc = open_reader(f, err)) == 0)
		rc = start_reading(f, conf->start, err);
	flow_close(f);
	log_scope("task", NULL);
	return rc;
}

int flow_repair(const struct flow_conf *conf, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/apply.db", conf->dir), *dir = xasprintf("%s/journal", conf->dir);
	AUTO(apply_store_close) struct apply_store *store = NULL;
	struct apply_mark mark;
	int rc;

	if (access(path, R_OK) < 0)
		return err_set(err, ERR_JOURNAL_BAD, "%s: cannot be read: %s", path, strerror(errno));
	if ((rc = apply_store_open(&store, path, NULL, err)) < 0)
		return rc;
	apply_store_mark(store, &mark);
	return journal_repair(dir, mark.seq, err);
}

static int open_applier(struct flow *f, const struct flow_conf *conf, bool paused, struct err *err)
{
	int rc;

	f->sink_ops = sink_select(conf->mode);
	if (!f->sink_ops)
		return err_set(err, ERR_JOURNAL_NEWER,
			       "the task's mode '%s' is not one that this version knows; install the version "
			       "that made the task",
			       conf->mode);
	rc = f->sink_ops->open(
		&f->sink,
		&(struct sink_conf){.target = f->target,
				    .names = &f->names,
				    .identity = hash64(0, conf->source_uuid, strlen(conf->source_uuid)),
				    .request_timeout_ms = f->conf->request_timeout_ms,
				    .poll = applier_stopping,
				    .poll_arg = f,
				    .note = on_note,
				    .note_arg = f},
		err);
	if (rc < 0)
		return rc;
	return applier_new(&f->applier,
			   &(struct applier_conf){.conf = f->conf,
						  .task_id = f->task_id,
						  .target = f->target_key,
						  .journal = f->journal,
						  .store = f->store,
						  .sink_ops = f->sink_ops,
						  .sink = f->sink,
						  .paused = paused,
						  .applied = on_applied,
						  .poll = applier_stopping,
						  .note = on_hold,
						  .arg = f},
			   err);
}

/*
 * R22: a task that does not open holds the ticks back if it has something in doubt, and as long as that
 * cannot be read for a reason that may pass. Where apply.db is lost for good there is nothing to repeat.
 */
static void pin_target(const struct flow *f, const char *mode, struct err why)
{
	const struct sink_ops *ops = sink_select(mode);

	if (ops && ops->own_time)
		return;
	if (f->store)
		applier_pin(f->store, f->target_key, f->task_id);
	else
		gate_pin(f->target_key, f->task_id, err_policy(why.code) == ERR_RETRY, 0);
}

int flow_open(struct flow **ret, const struct flow_conf *conf, bool paused, struct err *err)
{
	struct flow *f = flow_new(conf);
	struct apply_intent intent;
	struct apply_mark mark;
	int rc;

	if ((rc = check_store(f, err)) < 0 || (rc = open_store(f, err)) < 0)
		goto out;
	CRASH_POINT("flow_store");
	apply_store_mark(f->store, &mark);
	apply_store_intent(f->store, &intent);
	/* R13: if the journal lost its tail, what is read again gets numbers of its own */
	if ((rc = open_journal(f, intent.seq > mark.seq ? intent.seq : mark.seq, err)) < 0 ||
	    (rc = check_journal(f, err)) < 0 || (rc = open_reader(f, err)) < 0 ||
	    (rc = open_applier(f, conf, paused, err)) < 0)
		goto out;
	f->reader_worker = worker_new(&(struct worker_conf){.name = "reader",
							    .task = f->task_id,
							    .step = reader_step,
							    .arg = f->reader,
							    .fields = reader_fields,
							    .fields_arg = f,
							    .idle_ms = 100});
	f->applier_worker = worker_new(&(struct worker_conf){.name = "applier",
							     .task = f->task_id,
							     .step = applier_step,
							     .arg = f->applier,
							     .fields = applier_fields,
							     .fields_arg = f,
							     .idle_ms = 200});
	CRASH_POINT("flow_opened");
	*ret = f;
	return 0;
out:
	pin_target(f, conf->mode, *err);
	flow_close(f);
	return rc;
}

void flow_forget(const char *target_key, const char *task_id)
{
	gate_unpin(target_key, task_id);
}

void flow_start(struct flow *f)
{
	worker_start(f->reader_worker);
	worker_start(f->applier_worker);
}

void flow_pause(struct flow *f, bool paused)
{
	applier_pause(f->applier, paused);
	worker_wake(f->applier_worker);
	if (!paused) { /* an operator's resume tries what was held at once */
		applier_retry(f->applier);
		worker_retry(f->reader_worker);
		worker_retry(f->applier_worker);
	}
}

void flow_replay_unclear(struct flow *f)
{
	applier_replay_unclear(f->applier);
	worker_wake(f->applier_worker);
}

void flow_block(struct flow *f, const char *reason)
{
	applier_block(f->applier, reason);
	worker_wake(f->applier_worker);
}

void flow_target_floor(const char *target_key, cdc_ts ts)
{
	gate_raise(target_key, ts);
}

cdc_ts flow_target_ticks(const char *target_key)
{
	return gate_bound_of(target_key);
}

void flow_stop(struct flow *f)
{
	worker_stop(f->reader_worker);
	worker_stop(f->applier_worker);
	journal_wake(f->journal);
}

void flow_close(struct flow *f)
{
	if (!f)
		return;
	if (f->reader_worker)
		flow_stop(f);
	if (f->reader_worker)
		worker_join(f->reader_worker);
	if (f->applier_worker)
		worker_join(f->applier_worker);
	applier_free(f->applier);
	if (f->sink)
		f->sink_ops->close(f->sink);
	reader_free(f->reader);
	/* not before: the sink's threads ask them whether to end */
	worker_free(f->reader_worker);
	worker_free(f->applier_worker);
	apply_store_close(f->store);
	journal_close(f->journal);
	target_conf_free(f->target);
	selection_clear(&f->selection);
	name_map_clear(&f->names);
	free(f->target_key);
	free(f->task_id);
	free(f->dir);
	free(f);
}

void flow_status(struct flow *f, struct flow_status *ret)
{
	struct applier_stat a;
	struct reader_stat r;
	struct journal_stat j;
	bool level;

	applier_stat(f->applier, &a);
	reader_stat(f->reader, &r);
	journal_stat(f->journal, &j);
	level = a.seq >= j.last_seq;
	*ret = (struct flow_status){.captured = r.captured,
				    .journaled = j.rows_captured,
				    .applied = a.rows_applied,
				    .lag_ms = lag_of(clock_real_ms(), a.ts, level ? r.quiet_ms : 0),
				    .journal_ts = j.watermark,
				    .applied_ts = a.ts,
				    .journal_bytes = j.bytes,
				    .last_seq = j.last_seq,
				    .applied_seq = a.seq,
				    .held_collections = a.held,
				    .skipped = r.skipped,
				    .reader_silent_ms = worker_silent_ms(f->reader_worker),
				    .applier_silent_ms = worker_silent_ms(f->applier_worker),
				    .mode = f->sink_ops->name};
	worker_health(f->reader_worker, &ret->reader);
	worker_health(f->applier_worker, &ret->applier);
	if (ret->captured < ret->journaled) /* counted since the start of the process */
		ret->captured = ret->journaled;
	if (a.held && ret->applier.status == HEALTH_OK) {
		ret->applier.status = HEALTH_HELD;
		ret->applier.code = ERR_TARGET_REFUSED;
		ret->applier.since_ms = a.held_since_ms;
		snprintf(ret->applier.reason, sizeof(ret->applier.reason), "%s", a.held_reason);
	}
}

size_t flow_warnings(struct flow *f, struct arena *arena, size_t max, const char ***ret)
{
	return reader_warnings(f->reader, arena, max, ret);
}

size_t flow_positions(struct flow *f, struct arena *arena, struct flow_position **ret)
{
	return positions_by_shard(f->journal, arena, ret);
}
