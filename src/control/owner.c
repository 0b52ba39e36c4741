/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See owner.h. One thread with its own connection to etcd goes over the targets: a key that is ours is kept
 * alive, one of another is looked at until it is gone. The mutex guards the list and is never held during
 * I/O.
 */
#include "owner.h"
#include "random_id.h"

#include <cdc/log.h>
#include <cdc/wire.h>
#include <cdc/worker.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TTL_S 20
#define KEEP_MS 5000  /* between two looks at a key that is ours */
#define OTHER_MS 2000 /* at one that is another's */
#define CALL_MS 1500
#define DISOWN_MS 250
#define TICKS_AHEAD_MS 10 /* for rows that were restamped to just above the clock */

enum owner_state { OWNER_ASKING, OWNER_FREE, OWNER_OTHER };

struct target {
	struct target *next;
	char *key;               /* of the tasks: their target_key */
	char *path;              /* in etcd */
	bool wanted;             /* under the mutex */
	bool refused;            /* told that the key cannot be written; the thread's */
	bool taken;              /* since its lease began, that is still to be told; the thread's */
	int64_t due_ms;          /* under the mutex */
	enum owner_state state;  /* under the mutex */
	char reason[512];        /* under the mutex */
	struct etcd_owner owner; /* the thread's */
};

struct owner {
	struct owner_conf c;
	struct etcd *etcd;
	struct worker *worker;
	char *value; /* who we are; the first `same` bytes are the same in every life */
	size_t same;
	char host[256];
	pthread_mutex_t mutex;
	struct target *first;
};

/* ---- who we are ---- */

static int instance_make(const char *path, char ret[33], struct err *err)
{
	AUTO_FREE char *tmp = xasprintf("%s.new", path);
	int fd, rc = 0;

	random_id(ret);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, ret, 32) != 32 || fsync(fd) < 0 || rename(tmp, path) < 0)
		rc = err_set(err, ERR_STATE_IO, "cannot write %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

static int instance_read(const char *dir, char ret[33], struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/instance", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return instance_make(path, ret, err);
	if (fd < 0)
		return err_set(err, ERR_STATE_IO, "cannot read %s: %s", path, strerror(errno));
	n = read(fd, ret, 32);
	close(fd);
	ret[n > 0 ? n : 0] = 0;
	if (n == 32 && strspn(ret, "0123456789abcdef") == 32)
		return 0;
	return err_set(err, ERR_STATE_IO,
		       "%s is not what this program wrote: remove the file, a new one is made", path);
}

/* ---- the list ---- */

static struct target *find(struct owner *o, const char *key)
{
	for (struct target *t = o->first; t; t = t->next)
		if (STREQ(t->key, key))
			return t;
	return NULL;
}

/* A loopback address means another machine for every host. */
static bool is_local(const char *key)
{
	return strncmp(key, "127.", 4) == 0 || strncmp(key, "::1", 3) == 0 || strncmp(key, "[::1]", 5) == 0 ||
	       strncmp(key, "localhost:", 10) == 0;
}

char *owner_path(const struct conf *conf, const char *host, const char *key)
{
	const struct conf_etcd *etcd = &conf->source.etcd;

	return xasprintf("milvus-cdc/%s/%s/target/%s%s%s", etcd->root_path, etcd->meta_sub_path,
			 is_local(key) ? host : "", is_local(key) ? "/" : "", key);
}

static struct target *add(struct owner *o, const char *key)
{
	struct target *t = xcalloc(1, sizeof(*t));

	t->key = xstrdup(key);
	t->path = owner_path(o->c.conf, o->host, key);
	t->next = o->first;
	o->first = t;
	return t;
}

bool owner_want(struct owner *o, const char *target_key, char *reason, size_t n)
{
	struct target *t;
	bool free;

	pthread_mutex_lock(&o->mutex);
	t = find(o, target_key);
	if (!t)
		t = add(o, target_key);
	if (!t->wanted) {
		t->wanted = true;
		t->state = OWNER_ASKING;
		t->due_ms = 0;
	}
	free = t->state == OWNER_FREE;
	snprintf(reason, n, "%s", t->state == OWNER_OTHER ? t->reason : "");
	pthread_mutex_unlock(&o->mutex);
	worker_wake(o->worker);
	return free;
}

void owner_drop(struct owner *o, const char *target_key)
{
	struct target *t;

	pthread_mutex_lock(&o->mutex);
	t = find(o, target_key);
	if (t) {
		t->wanted = false;
		t->due_ms = 0;
	}
	pthread_mutex_unlock(&o->mutex);
	worker_wake(o->worker);
}

/* ---- the thread ---- */

static bool stopping(void *arg)
{
	struct owner *o = arg;

	worker_pulse(o->worker);
	return worker_stopping(o->worker);
}

/* Notes what was found out, and tells if it is news. */
static void note(struct owner *o, struct target *t, enum owner_state state, const char *other)
{
	char reason[sizeof(t->reason)];
	bool news;

	pthread_mutex_lock(&o->mutex);
	news = t->wanted && state != t->state;
	t->state = state;
	t->due_ms = clock_mono_ms() + (state == OWNER_OTHER ? OTHER_MS : KEEP_MS);
	if (state == OWNER_OTHER)
		snprintf(t->reason, sizeof(t->reason),
			 "another milvus-cdc writes to target %s: %.200s. Stop it or delete its task; this "
			 "one goes on within %d s after that",
			 t->key, other, TTL_S + OTHER_MS / 1000);
	snprintf(reason, sizeof(reason), "%s", t->reason);
	pthread_mutex_unlock(&o->mutex);
	if (news)
		o->c.tell(o->c.arg, t->key, state == OWNER_OTHER ? reason : NULL);
}

/* Another was there at the last look; the next one is due in a while. */
static bool seen_other(struct owner *o, struct target *t)
{
	bool other;

	pthread_mutex_lock(&o->mutex);
	other = t->state == OWNER_OTHER;
	if (other)
		t->due_ms = clock_mono_ms() + OTHER_MS;
	pthread_mutex_unlock(&o->mutex);
	return other;
}

/* The number behind the last blank of what an owner has left. */
static cdc_ts bound_of(const char *last)
{
	const char *blank = strrchr(last, ' ');

	return blank ? strtoull(blank + 1, NULL, 10) : 0;
}

/*
 * The source's clock in etcd is a few seconds ahead of every timestamp that was given out, so no tick that
 * another daemon has sent until now is above it. 0: it has another layout.
 */
static cdc_ts clock_of(const struct etcd_range *r)
{
	uint64_t ns = 0;

	if (r->kv_count != 1 || r->kvs[0].size != 8)
		return 0;
	for (int i = 0; i < 8; i++)
		ns = ns << 8 | r->kvs[0].value[i];
	return ts_from_ms((int64_t)(ns / 1000000 + TICKS_AHEAD_MS));
}

/*
 * R21: who was the last owner stays in etcd, with the bound of the ticks of all before him. If that was
 * another, the bound is now; if it was us the old one holds, because what it was told for may still wait in
 * our journals.
 */
static int tell_taken(struct owner *o, struct target *t, struct arena *arena, struct err *err)
{
	const char *path = arena_printf(arena, "%s/last", t->path), *last = "", *ours;
	struct etcd_range r[2] = {
		{.key = path},
		{.key = arena_printf(arena, "%s/kv/gid/timestamp", o->c.conf->source.etcd.root_path)}};
	struct etcd_answer answer;
	cdc_ts bound, now;
	int rc;

	if ((rc = etcd_read(o->etcd, r, ARRAY_LEN(r), CALL_MS, arena, &answer, err)) < 0)
		return rc;
	if (r[0].kv_count)
		last = arena_strndup(arena, r[0].kvs[0].value, r[0].kvs[0].size);
	bound = bound_of(last);
	now = clock_of(&r[1]);
	if (*last && strncmp(last, o->value, o->same) != 0 && now > bound)
		bound = now;
	ours = arena_printf(arena, "%.*s, ticks of others: %llu", (int)o->same, o->value,
			    (unsigned long long)bound);
	if (!STREQ(ours, last) && (rc = etcd_put(o->etcd, path, ours, CALL_MS, err)) < 0)
		return rc;
	t->taken = false;
	if (bound)
		o->c.taken(o->c.arg, t->key, bound);
	return 0;
}

static void look(struct owner *o, struct target *t)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	int64_t lease = t->owner.lease;
	const char *other = NULL;
	struct err err = {0};
	int rc =
		etcd_own(o->etcd, &t->owner, t->path, o->value, o->same, TTL_S, CALL_MS, arena, &other, &err);

	if (rc == 0 && t->owner.lease != lease)
		t->taken = true;
	if (rc == 0 && t->taken)
		rc = tell_taken(o, t, arena, &err);
	if (rc == 1) {
		/* without the instance: it is of no use to people */
		note(o, t, OWNER_OTHER,
		     strlen(other) > OWNER_INSTANCE + 1 ? other + OWNER_INSTANCE + 1 : other);
		return;
	}
	if (rc == -ERR_SOURCE_AUTH && !t->refused) {
		t->refused = true;
		log_event(
			TARGET_OTHER,
			"a second milvus-cdc that writes to target %s will not be noticed, etcd lets us not "
			"write %s: %s",
			t->key, t->path, err.text);
	}
	/* nothing is known: what was seen last holds, and who has seen nobody is not blocked */
	if (rc < 0 && seen_other(o, t))
		return;
	note(o, t, OWNER_FREE, NULL);
}

/* One target whose time has come; NULL: none. */
static struct target *next_due(struct owner *o, bool *wanted)
{
	int64_t now = clock_mono_ms();
	struct target *t;

	pthread_mutex_lock(&o->mutex);
	for (t = o->first; t; t = t->next)
		if (t->due_ms <= now && (t->wanted || t->owner.lease))
			break;
	if (t)
		*wanted = t->wanted;
	pthread_mutex_unlock(&o->mutex);
	return t;
}

static int step(void *arg, struct err *err)
{
	struct owner *o = arg;
	bool wanted = false;
	struct target *t = next_due(o, &wanted);

	(void)err;
	if (!t)
		return 0;
	if (wanted)
		look(o, t);
	else
		etcd_disown(o->etcd, &t->owner, CALL_MS);
	return 1;
}

/* A clean stop lets a successor on another machine begin at once. */
static void leave(void *arg)
{
	struct owner *o = arg;
	struct etcd *etcd = etcd_new(&o->c.conf->source.etcd, NULL, NULL); /* ours ends calls by now */

	for (struct target *t = o->first; t; t = t->next)
		etcd_disown(etcd, &t->owner, DISOWN_MS);
	etcd_free(etcd);
}

int owner_new(struct owner **ret, const struct owner_conf *conf, struct err *err)
{
	struct owner *o;
	char id[33];
	int rc;

	if ((rc = instance_read(conf->conf->data_dir, id, err)) < 0)
		return rc;
	o = xcalloc(1, sizeof(*o));
	o->c = *conf;
	pthread_mutex_init(&o->mutex, NULL);
	if (gethostname(o->host, sizeof(o->host) - 1) < 0)
		snprintf(o->host, sizeof(o->host), "unknown");
	o->value = xasprintf("%s on host %s in %s, process %ld", id, o->host, conf->conf->data_dir,
			     (long)getpid());
	o->same = strlen(o->value) - strlen(strrchr(o->value, ','));
	o->worker = worker_new(&(struct worker_conf){
		.name = "owner", .step = step, .leave = leave, .arg = o, .idle_ms = 500});
	o->etcd = etcd_new(&conf->conf->source.etcd, stopping, o);
	worker_start(o->worker);
	*ret = o;
	return 0;
}

void owner_free(struct owner *o)
{
	if (!o)
		return;
	worker_stop(o->worker);
	worker_free(o->worker);
	etcd_free(o->etcd);
	for (struct target *t = o->first, *next; t; t = next) {
		next = t->next;
		free(t->key);
		free(t->path);
		free(t);
	}
	free(o->value);
	pthread_mutex_destroy(&o->mutex);
	free(o);
}
