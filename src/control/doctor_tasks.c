/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor and the tasks of control.db: their journals, and every target as its task would find it. */
#include "doctor_priv.h"

#include <cdc/worker.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "owner.h"

void doctor_read_tasks(struct doctor *d)
{
	AUTO_FREE char *path = xasprintf("%s/control.db", d->conf->data_dir);
	AUTO(task_store_close) struct task_store *store = NULL;
	struct err err = {0};

	if (!d->data_dir)
		return;
	if (access(path, F_OK) < 0 && errno == ENOENT) {
		doctor_say(d, OK, "tasks", "", "none was ever made in %s", d->conf->data_dir);
		return;
	}
	if (task_store_peek(&store, path, &err) < 0 ||
	    task_store_list(store, &d->tasks, &d->task_count, &err) < 0) {
		doctor_say(d, FAIL, "tasks", "", "%s", err.text);
		return;
	}
	d->journals = xcalloc(d->task_count + 1, sizeof(*d->journals));
	for (size_t i = 0; i < d->task_count; i++) {
		AUTO_FREE char *dir = xasprintf("%s/tasks/%s", d->conf->data_dir, d->tasks[i].id);
		AUTO_FREE char *what = xasprintf("task %s, journal", d->tasks[i].id);
		struct peek_task *t = &d->journals[i];

		if (d->tasks[i].state != TASK_READY)
			continue;
		if (peek_task(t, dir, false, &err) < 0)
			doctor_say(d, FAIL, what, "", "%s", err.text);
		else
			doctor_say(
				d, t->holds ? WARN : OK, what,
				t->holds ? "the request get tells why; it is tried again each minute and at "
					   "each resume"
					 : "",
				"%d file%s, %.1f MiB, %d collection%s on hold", t->segments,
				t->segments == 1 ? "" : "s", (double)t->bytes / (1 << 20), t->holds,
				t->holds == 1 ? "" : "s");
	}
	if (!d->task_count)
		doctor_say(d, OK, "tasks", "", "there is none");
}

/* ---- the owner's key (R32) ---- */

static bool is_ours(const struct doctor *d, const char *value)
{
	AUTO_FREE char *path = xasprintf("%s/instance", d->conf->data_dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char id[OWNER_INSTANCE];
	bool same = fd >= 0 && read(fd, id, sizeof(id)) == (ssize_t)sizeof(id) &&
		    strncmp(id, value, sizeof(id)) == 0;

	if (fd >= 0)
		close(fd);
	return same;
}

static void check_owner(struct doctor *d, const struct task_row *t)
{
	const char *what = arena_printf(d->arena, "task %s, only writer", t->id);
	AUTO_FREE char *path = NULL;
	struct etcd_range range = {0};
	struct etcd_answer answer;
	struct err err = {0};
	char host[256] = "unknown";
	const char *value;

	if (gethostname(host, sizeof(host) - 1) < 0)
		snprintf(host, sizeof(host), "unknown");
	range.key = path = owner_path(d->conf, host, t->target_key);
	if (etcd_read(d->etcd, &range, 1, CHECK_MS, d->arena, &answer, &err) < 0) {
		doctor_say(d, WARN, what, "", "not known: %s", err.text);
		return;
	}
	value = range.kv_count ? arena_strndup(d->arena, range.kvs[0].value, range.kvs[0].size) : NULL;
	if (!value)
		doctor_say(d, OK, what, "", "nobody is noted in etcd as the writer of %s", t->target_key);
	else if (is_ours(d, value))
		doctor_say(d, OK, what, "", "it is ours");
	else
		doctor_say(d, FAIL, what, "stop it, or delete one of the two tasks",
			   "another milvus-cdc writes to %s: %s", t->target_key,
			   strlen(value) > OWNER_INSTANCE + 1 ? value + OWNER_INSTANCE + 1 : "unknown");
}

/* ---- targets ---- */

static void check_mode(struct doctor *d, const char *what, const struct task_row *t,
		       const struct target_info *info)
{
	const char *door = info->replicate ? "takes replicated messages (ttMsgEnabled: false)"
					   : "is an ordinary one (ttMsgEnabled: true)";
	bool replicate = STREQ(t->mode, "replicate");

	if (!*t->mode || replicate == info->replicate)
		doctor_say(d, OK, what, "", "%s:%d is Milvus %s and %s, mode %s", t->target->host,
			   t->target->port, info->version, door, *t->mode ? t->mode : "not chosen yet");
	else
		doctor_say(d, FAIL, what,
			   replicate ? "set common.ttMsgEnabled: false in its milvus.yaml and restart it, or "
				       "make a new task"
				     : "set common.ttMsgEnabled: true in its milvus.yaml and restart it, or "
				       "make a new task",
			   "%s:%d (Milvus %s) %s, but the mode of the task is %s", t->target->host,
			   t->target->port, info->version, door, t->mode);
}

static void check_target(struct doctor *d, const struct task_row *t)
{
	const char *what = arena_printf(d->arena, "task %s, target", t->id);
	struct target_conf *conf = target_conf_copy(t->target);
	struct target_info info = {0};
	struct err err = {0};

	if (conf->connect_timeout_ms <= 0 || conf->connect_timeout_ms > CHECK_MS)
		conf->connect_timeout_ms = CHECK_MS;
	if (conf->tls.enable)
		doctor_tls(d, what, &conf->tls, conf->host, conf->port);
	if (target_probe(conf, d->arena, &info, &err) < 0)
		doctor_say(d, FAIL, what, "", "%s", err.text);
	else
		check_mode(d, what, t, &info);
	target_conf_free(conf);
}

void doctor_tasks(struct doctor *d)
{
	for (size_t i = 0; i < d->task_count; i++) {
		const struct task_row *t = &d->tasks[i];

		if (t->state != TASK_READY)
			continue; /* half made or half gone: the service finishes it at its next start */
		check_target(d, t);
		if (d->etcd_ok)
			check_owner(d, t);
	}
}
