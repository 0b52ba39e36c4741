/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data path that only keeps its folder: flow.h and target_probe() for the tests of control. It is
 * included by the test that wants it, after `#define CDC_FLOW_FAKE`, so that the real objects of the
 * archive are never pulled in there, and never replaced anywhere else.
 *
 * What the calls answer is set in `fake`; what was called is counted there. A gate makes a call wait
 * until the test opens it. All fields are under the mutex.
 */
#ifdef CDC_FLOW_FAKE

#include <cdc/flow.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct fake {
	pthread_mutex_t mutex;
	pthread_cond_t cond;

	/* answers */
	struct err probe, same, create, open; /* code 0: success */
	struct err repair;                    /* code 0: the journal is mended, and status is ok again */
	int same_answer;
	bool no_replicate;
	bool probe_gate, create_gate, close_gate, open_gate, repair_gate; /* closed: the call waits */
	struct flow_status status;
	size_t warnings; /* how many flow_warnings() tells */
	cdc_ts ticks;    /* of every target */
	struct flow_position positions[4];
	size_t position_count;

	/* what happened */
	int probes, creates, opens, starts, closes, alive, waiting, repairs;
	struct target_conf *probed; /* the last one, a copy */
	char uuid[64];              /* of the last flow_create */
	size_t selected, mapped;    /* of the last flow_create: also */
	size_t excluded;
	char mode[16], key[128];
	bool users;
	struct {
		char key[128];
		cdc_ts ts;
	} floor;          /* of the last flow_target_floor */
	char start[1024]; /* "earliest; default.a: 5 ms; default.b: v@id/ts" */
};
static struct fake fake = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

struct flow {
	char id[160];
	bool paused, started, stopped, replayed;
	struct flow *next;
};
static struct flow *fake_flows;

static void fake_reset(void)
{
	pthread_mutex_lock(&fake.mutex);
	target_conf_free(fake.probed);
	fake.probe = fake.same = fake.create = fake.open = (struct err){0};
	fake.repair = (struct err){0};
	err_set(&fake.repair, ERR_JOURNAL_BAD, "the fake has nothing to go back to");
	fake.open_gate = fake.repair_gate = fake.users = false;
	fake.repairs = 0;
	fake.mapped = fake.excluded = 0;
	fake.same_answer = fake.probes = fake.creates = fake.opens = fake.starts = fake.closes = 0;
	fake.no_replicate = fake.probe_gate = fake.create_gate = fake.close_gate = false;
	fake.status = (struct flow_status){.mode = "replicate"};
	fake.position_count = fake.selected = 0;
	fake.probed = NULL;
	fake.uuid[0] = 0;
	fake.ticks = fake.floor.ts = 0;
	fake.floor.key[0] = 0;
	pthread_mutex_unlock(&fake.mutex);
}

/* With the mutex. */
static void fake_gate(const bool *closed)
{
	fake.waiting++;
	pthread_cond_broadcast(&fake.cond);
	while (*closed)
		pthread_cond_wait(&fake.cond, &fake.mutex);
	fake.waiting--;
	pthread_cond_broadcast(&fake.cond);
}

static __attribute__((unused)) void fake_set(bool *gate, bool closed)
{
	pthread_mutex_lock(&fake.mutex);
	*gate = closed;
	pthread_cond_broadcast(&fake.cond);
	pthread_mutex_unlock(&fake.mutex);
}

/* Until n calls stand at a gate; false: 10 s passed. */
static __attribute__((unused)) bool fake_wait_waiting(int n)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&fake.mutex);
	while (fake.waiting != n && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&fake.cond, &fake.mutex, &until);
	rc = fake.waiting == n;
	pthread_mutex_unlock(&fake.mutex);
	return rc;
}

/* -1: there is no such flow. */
static __attribute__((unused)) int fake_replayed(const char *id)
{
	int rc = -1;

	pthread_mutex_lock(&fake.mutex);
	for (const struct flow *f = fake_flows; f; f = f->next)
		if (STREQ(f->id, id))
			rc = f->replayed;
	pthread_mutex_unlock(&fake.mutex);
	return rc;
}

/* -1: there is no such flow. */
static __attribute__((unused)) int fake_paused(const char *id)
{
	int rc = -1;

	pthread_mutex_lock(&fake.mutex);
	for (struct flow *f = fake_flows; f; f = f->next)
		if (STREQ(f->id, id))
			rc = f->paused;
	pthread_mutex_unlock(&fake.mutex);
	return rc;
}

static int fake_answer(const struct err *want, struct err *err)
{
	return want->code ? err_set(err, want->code, "%s", want->text) : 0;
}

int target_probe(const struct target_conf *t, struct arena *arena, struct target_info *ret, struct err *err)
{
	int rc;

	(void)arena;
	pthread_mutex_lock(&fake.mutex);
	fake.probes++;
	target_conf_free(fake.probed);
	fake.probed = target_conf_copy(t);
	fake_gate(&fake.probe_gate);
	if ((rc = fake_answer(&fake.probe, err)) == 0)
		*ret = (struct target_info){.version = "v2.3.5", .replicate = !fake.no_replicate};
	pthread_mutex_unlock(&fake.mutex);
	return rc;
}

int flow_same_cluster(const struct conf *conf, const struct target_conf *t, const struct target_info *target,
		      struct err *err)
{
	int rc;

	(void)conf;
	(void)t;
	(void)target;
	pthread_mutex_lock(&fake.mutex);
	if ((rc = fake_answer(&fake.same, err)) == 0)
		rc = fake.same_answer;
	pthread_mutex_unlock(&fake.mutex);
	return rc;
}

static void fake_tell_point(struct buf *b, const struct start_point *p)
{
	static const char *const names[] = {"now", "earliest", "", ""};

	buf_adds(b, names[p->kind]);
	if (p->kind == START_TIME)
		buf_addf(b, "%lld ms", (long long)p->time_ms);
	for (size_t i = 0; p->kind == START_POSITIONS && i < p->count; i++) {
		uint64_t id = 0;

		for (size_t k = p->positions[i].id_size; k-- > 0;)
			id = id << 8 | p->positions[i].id[k];
		buf_addf(b, "%s%s@%llu/%llu", i ? " " : "", p->positions[i].vchannel, (unsigned long long)id,
			 (unsigned long long)p->positions[i].ts);
	}
}

static void fake_tell_start(const struct start *s)
{
	AUTO_BUF struct buf b = {0};

	if (s)
		fake_tell_point(&b, &s->all);
	for (size_t i = 0; s && i < s->count; i++) {
		buf_addf(&b, "; %s.%s: ", s->items[i].db, s->items[i].collection);
		fake_tell_point(&b, &s->items[i].at);
	}
	buf_adds(&b, "");
	snprintf(fake.start, sizeof(fake.start), "%s", (const char *)b.data);
}

int flow_create(const struct flow_conf *conf, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/made", conf->dir);
	FILE *f;
	int rc;

	pthread_mutex_lock(&fake.mutex);
	fake.creates++;
	fake_gate(&fake.create_gate);
	snprintf(fake.uuid, sizeof(fake.uuid), "%s", conf->source_uuid);
	snprintf(fake.mode, sizeof(fake.mode), "%s", conf->mode);
	snprintf(fake.key, sizeof(fake.key), "%s", conf->target_key);
	fake.selected = conf->selection->count;
	fake.mapped = conf->names->count;
	fake.users = conf->users;
	fake_tell_start(conf->start);
	fake.excluded = 0;
	for (size_t i = 0; i < conf->selection->count; i++)
		fake.excluded += conf->selection->items[i].exclude;
	rc = fake_answer(&fake.create, err);
	pthread_mutex_unlock(&fake.mutex);
	if (rc < 0)
		return rc;
	if (mkdir(conf->dir, 0700) < 0 || !(f = fopen(path, "w")))
		return err_set(err, ERR_JOURNAL_IO, "%s: %s", conf->dir, strerror(errno));
	fclose(f);
	return 0;
}

int flow_repair(const struct flow_conf *conf, struct err *err)
{
	int rc;

	(void)conf;
	pthread_mutex_lock(&fake.mutex);
	fake.repairs++;
	fake_gate(&fake.repair_gate);
	if ((rc = fake_answer(&fake.repair, err)) == 0) {
		fake.status.applier = (struct health){0};
		rc = 1;
	}
	pthread_mutex_unlock(&fake.mutex);
	return rc;
}

int flow_open(struct flow **ret, const struct flow_conf *conf, bool paused, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/made", conf->dir);
	struct flow *f;
	int rc;

	if (access(path, F_OK) < 0)
		return err_set(err, ERR_JOURNAL_BAD, "%s: the folder is gone", conf->dir);
	pthread_mutex_lock(&fake.mutex);
	fake.opens++;
	fake_gate(&fake.open_gate);
	if ((rc = fake_answer(&fake.open, err)) == 0) {
		f = xcalloc(1, sizeof(*f));
		snprintf(f->id, sizeof(f->id), "%s", conf->task_id);
		f->paused = paused;
		f->next = fake_flows;
		fake_flows = f;
		fake.alive++;
		*ret = f;
	}
	pthread_mutex_unlock(&fake.mutex);
	return rc;
}

void flow_start(struct flow *f)
{
	pthread_mutex_lock(&fake.mutex);
	f->started = true;
	fake.starts++;
	pthread_mutex_unlock(&fake.mutex);
}

void flow_pause(struct flow *f, bool paused)
{
	pthread_mutex_lock(&fake.mutex);
	f->paused = paused;
	pthread_mutex_unlock(&fake.mutex);
}

void flow_replay_unclear(struct flow *f)
{
	pthread_mutex_lock(&fake.mutex);
	f->replayed = true;
	pthread_mutex_unlock(&fake.mutex);
}

void flow_block(struct flow *f, const char *reason)
{
	(void)f;
	(void)reason;
}

void flow_target_floor(const char *target_key, cdc_ts ts)
{
	pthread_mutex_lock(&fake.mutex);
	snprintf(fake.floor.key, sizeof(fake.floor.key), "%s", target_key);
	fake.floor.ts = ts;
	pthread_mutex_unlock(&fake.mutex);
}

cdc_ts flow_target_ticks(const char *target_key)
{
	(void)target_key;
	return fake.ticks;
}

void flow_forget(const char *target_key, const char *task_id)
{
	(void)target_key;
	(void)task_id;
}

void flow_stop(struct flow *f)
{
	pthread_mutex_lock(&fake.mutex);
	f->stopped = true;
	pthread_mutex_unlock(&fake.mutex);
}

void flow_close(struct flow *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&fake.mutex);
	if (!f->stopped)
		abort(); /* the contract: after flow_stop */
	fake_gate(&fake.close_gate);
	for (struct flow **p = &fake_flows; *p; p = &(*p)->next)
		if (*p == f) {
			*p = f->next;
			break;
		}
	fake.closes++;
	fake.alive--;
	pthread_mutex_unlock(&fake.mutex);
	free(f);
}

void flow_status(struct flow *f, struct flow_status *ret)
{
	pthread_mutex_lock(&fake.mutex);
	(void)f;
	*ret = fake.status;
	pthread_mutex_unlock(&fake.mutex);
}

size_t flow_warnings(struct flow *f, struct arena *arena, size_t max, const char ***ret)
{
	(void)f;
	pthread_mutex_lock(&fake.mutex);
	*ret = arena_alloc(arena, (max + 1) * sizeof(**ret));
	for (size_t i = 0; i < fake.warnings && i < max; i++)
		(*ret)[i] = "collection default.a: rows were imported in bulk";
	pthread_mutex_unlock(&fake.mutex);
	return fake.warnings;
}

size_t flow_positions(struct flow *f, struct arena *arena, struct flow_position **ret)
{
	size_t n;

	(void)f;
	pthread_mutex_lock(&fake.mutex);
	n = fake.position_count;
	*ret = arena_dup(arena, fake.positions, n * sizeof(**ret));
	pthread_mutex_unlock(&fake.mutex);
	return n;
}

#endif
