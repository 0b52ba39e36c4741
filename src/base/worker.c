/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker loop: call the step, wait when idle, back off on errors, keep health and pulse.
 * Fields are grouped by who touches them; the mutex guards the shared group.
 */
#include <cdc/log.h>
#include <cdc/mem.h>
#include <cdc/worker.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 50
#define BACKOFF_CAP_MS 2000
#define HELD_RETRY_MS 60000

struct worker {
	/* constant after new */
	struct worker_conf conf;
	char name[16], task[160];
	pthread_t thread;
	bool started;

	/* any thread */
	atomic_bool stop;
	atomic_llong pulse_ms;

	/* shared, under mutex */
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool wake, retry;
	struct health health;
	int64_t since_mono_ms; /* as health.since_ms, by the clock that nobody sets */
};

int64_t clock_mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_real_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const char *health_name(enum health_status status)
{
	switch (status) {
	case HEALTH_OK:
		return "ok";
	case HEALTH_RETRYING:
		return "retrying";
	case HEALTH_HELD:
		return "held";
	}
	return "unknown";
}

struct worker *worker_new(const struct worker_conf *conf)
{
	struct worker *w = xcalloc(1, sizeof(*w));
	pthread_condattr_t attr;

	w->conf = *conf;
	snprintf(w->name, sizeof(w->name), "%s", conf->name);
	snprintf(w->task, sizeof(w->task), "%s", conf->task ? conf->task : "");
	if (!w->conf.backoff_cap_ms)
		w->conf.backoff_cap_ms = BACKOFF_CAP_MS;
	pthread_mutex_init(&w->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->cond, &attr);
	pthread_condattr_destroy(&attr);
	w->health.since_ms = clock_real_ms();
	worker_pulse(w);
	return w;
}

/* Waits until woken, stopped or ms passed. held: only worker_retry() or stop end it early. */
static void worker_wait(struct worker *w, int ms, bool held)
{
	int64_t until = clock_mono_ms() + ms;
	int64_t now;

	pthread_mutex_lock(&w->mutex);
	while (!atomic_load(&w->stop) && !w->retry && (held || !w->wake) && (now = clock_mono_ms()) < until) {
		int64_t slice = until - now < 500 ? until - now : 500;
		struct timespec ts;

		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_sec += slice / 1000;
		ts.tv_nsec += slice % 1000 * 1000000;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_sec++;
			ts.tv_nsec -= 1000000000;
		}
		worker_pulse(w);
		pthread_cond_timedwait(&w->cond, &w->mutex, &ts);
	}
	w->wake = w->retry = false;
	pthread_mutex_unlock(&w->mutex);
}

/* The kind of event that an error is; those without one are told by what the worker does about it. */
static enum log_event event_of(int code, enum health_status status)
{
	switch (code) {
#define KIND(name) \
	case ERR_##name: \
		return EVENT_##name
		KIND(SOURCE_LOST);
		KIND(SOURCE_WAIT);
		KIND(SOURCE_AUTH);
		KIND(SOURCE_FOREIGN);
		KIND(SOURCE_FORMAT);
		KIND(POSITION_GONE);
		KIND(TARGET_LOST);
		KIND(TARGET_AUTH);
		KIND(TARGET_BUSY);
		KIND(TARGET_REFUSED);
		KIND(TARGET_SCHEMA);
		KIND(TARGET_OTHER);
		KIND(JOURNAL_FULL);
		KIND(JOURNAL_IO);
		KIND(JOURNAL_BAD);
		KIND(STATE_IO);
#undef KIND
	default:
		return status == HEALTH_HELD ? EVENT_WORKER_HELD : EVENT_WORKER_RETRYING;
	}
}

/* What a line about the thread's state carries besides task and worker. */
static void fields_begin(const struct worker *w, const char *pchannel)
{
	if (w->conf.fields)
		w->conf.fields(w->conf.fields_arg);
	log_scope("channel", pchannel && *pchannel ? pchannel : NULL);
}

static void fields_end(void)
{
	log_scope("channel", NULL);
	log_scope("seq", NULL);
	log_scope("lag_ms", NULL);
}

static void worker_ok(struct worker *w)
{
	uint64_t failures = 0;
	int64_t since = 0;

	pthread_mutex_lock(&w->mutex);
	if (w->health.status != HEALTH_OK) {
		failures = w->health.failures;
		since = w->since_mono_ms;
		w->health = (struct health){.since_ms = clock_real_ms()};
	}
	pthread_mutex_unlock(&w->mutex);
	if (!failures)
		return;
	fields_begin(w, NULL);
	log_event(WORKER_RECOVERED, "recovered after %llu failures in %.1f s", (unsigned long long)failures,
		  (double)(clock_mono_ms() - since) / 1000);
	fields_end();
}

/* Takes note of an error; returns how often it came in a row. */
static uint64_t worker_failed(struct worker *w, const struct err *err, enum health_status status)
{
	uint64_t n;

	pthread_mutex_lock(&w->mutex);
	if (w->health.status != status) {
		if (w->health.status == HEALTH_OK)
			w->since_mono_ms = clock_mono_ms();
		w->health.since_ms = clock_real_ms();
		w->health.failures = 0;
	}
	w->health.status = status;
	w->health.code = err->code;
	snprintf(w->health.reason, sizeof(w->health.reason), "%s", err->text);
	n = ++w->health.failures;
	pthread_mutex_unlock(&w->mutex);
	if ((n & (n - 1)) != 0)
		return n;
	fields_begin(w, err->pchannel);
	log_write_event(event_of(err->code, status), __FILE__, __LINE__,
			status == HEALTH_HELD ? "held: %s (look %llu)" : "%s (failure %llu, trying on)",
			err->text, (unsigned long long)n);
	fields_end();
	return n;
}

static void worker_error(struct worker *w, const struct err *err)
{
	unsigned seed = (unsigned)clock_mono_ms() ^ (unsigned)(uintptr_t)w;
	uint64_t n;
	int ms = BACKOFF_FIRST_MS;

	if (err->code == ERR_STOPPED && atomic_load(&w->stop))
		return;
	if (err->code == ERR_SOURCE_WAIT) { /* a normal wait: told in health, logged rarely */
		worker_failed(w, err, HEALTH_RETRYING);
		worker_wait(w, BACKOFF_FIRST_MS, false);
		return;
	}
	if (err_policy(err->code) != ERR_RETRY) {
		worker_failed(w, err, HEALTH_HELD);
		worker_wait(w, HELD_RETRY_MS, true);
		return;
	}
	n = worker_failed(w, err, HEALTH_RETRYING);
	while (--n > 0 && ms < w->conf.backoff_cap_ms)
		ms *= 2;
	if (ms > w->conf.backoff_cap_ms)
		ms = w->conf.backoff_cap_ms;
	worker_wait(w, ms / 2 + (int)(rand_r(&seed) % (unsigned)(ms / 2 + 1)), false);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct err err;

	prctl(PR_SET_NAME, w->name);
	log_scope("worker", w->name);
	if (w->task[0])
		log_scope("task", w->task);
	while (!atomic_load(&w->stop)) {
		worker_pulse(w);
		err = (struct err){0};
		int rc = w->conf.step(w->conf.arg, &err);

		if (rc < 0) {
			if (!err.code)
				err_set(&err, -rc, "%s", err_text(-rc));
			worker_error(w, &err);
			continue;
		}
		worker_ok(w);
		if (rc == 0)
			worker_wait(w, w->conf.idle_ms, false);
	}
	if (w->conf.leave)
		w->conf.leave(w->conf.arg);
	return NULL;
}

void worker_start(struct worker *w)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
	worker_pulse(w);
	if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
		log_event(INTERNAL, "cannot create a thread");
		abort();
	}
	w->started = true;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void worker_signal(struct worker *w, bool retry)
{
	pthread_mutex_lock(&w->mutex);
	w->wake = true;
	if (retry)
		w->retry = true;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->mutex);
}

void worker_wake(struct worker *w)
{
	worker_signal(w, false);
}

void worker_retry(struct worker *w)
{
	worker_signal(w, true);
}

void worker_stop(struct worker *w)
{
	atomic_store(&w->stop, true);
	worker_signal(w, true);
}

bool worker_stopping(const struct worker *w)
{
	return atomic_load(&w->stop);
}

void worker_join(struct worker *w)
{
	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->started) {
		worker_stop(w);
		worker_join(w);
	}
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}

void worker_pulse(struct worker *w)
{
	atomic_store(&w->pulse_ms, clock_mono_ms());
}

int64_t worker_silent_ms(const struct worker *w)
{
	return clock_mono_ms() - atomic_load(&w->pulse_ms);
}

void worker_health(const struct worker *w, struct health *ret)
{
	struct worker *mutable = (struct worker *)w; /* only its mutex */

	pthread_mutex_lock(&mutable->mutex);
	*ret = w->health;
	pthread_mutex_unlock(&mutable->mutex);
}

#ifdef CDC_TEST
/* Is want "name:N" and this the Nth passing of name, or a later one? Without N: the first. */
static bool point_reached(const char *want, const char *name, atomic_int *hits)
{
	const char *colon;
	size_t n;

	if (!want)
		return false;
	colon = strchr(want, ':');
	n = colon ? (size_t)(colon - want) : strlen(want);
	if (strncmp(want, name, n) != 0 || name[n])
		return false;
	return atomic_fetch_add(hits, 1) + 1 >= (colon ? atoi(colon + 1) : 1);
}

void crash_point(const char *name)
{
	static atomic_int hits;

	if (point_reached(getenv("CDC_CRASH"), name, &hits))
		kill(getpid(), SIGKILL);
}

void hang_point(const char *name)
{
	static atomic_int hits, taken;

	if (!point_reached(getenv("CDC_HANG"), name, &hits) || atomic_exchange(&taken, 1))
		return; /* one thread hangs, all others go on */
	for (;;)
		pause();
}
#endif
