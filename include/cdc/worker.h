/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker is one thread around one step function: new -> start -> stop (asks, never blocks) ->
 * join -> free. The step does one batch and returns >0 (did work: call again at once), 0 (idle:
 * wait for a wake or idle_ms) or <0 (error in *err). The worker acts on an error by its policy:
 * RETRY backs off with jitter (cap 2 s by default) and calls the step again, for ever; HOLD keeps
 * the error as health and calls the step again only after worker_retry() (or every 60 s, so that a
 * cause that went away heals by itself). It logs the 1st, 2nd, 4th, 8th ... failure and recovery.
 */
#ifndef CDC_WORKER_H
#define CDC_WORKER_H

#include <cdc/err.h>

#include <stdbool.h>
#include <stdint.h>

enum health_status { HEALTH_OK, HEALTH_RETRYING, HEALTH_HELD };
const char *health_name(enum health_status status); /* "ok", "retrying", "held" */

struct health {
	enum health_status status;
	int code;          /* ERR_*, 0 when ok */
	int64_t since_ms;  /* unix ms when this status began */
	uint64_t failures; /* in a row */
	char reason[1024];
};

struct worker;

struct worker_conf {
	const char *name; /* thread name, <= 15 bytes; also the log's "worker" scope */
	const char *task; /* task id for the log scope, or NULL */
	int (*step)(void *arg, struct err *err);
	void (*leave)(void *arg); /* in the thread, after the last step; may be NULL */
	void *arg;
	void (*fields)(
		void *fields_arg); /* in the thread, before a line: sets "seq", "lag_ms"; may be NULL */
	void *fields_arg;
	int idle_ms;        /* longest wait when idle; <= 1000 (R33) */
	int backoff_cap_ms; /* 0: 2000 */
};

struct worker *worker_new(const struct worker_conf *conf); /* strings are copied */
void worker_start(struct worker *w);
void worker_wake(struct worker *w);           /* any thread; ends an idle wait or a back-off */
void worker_retry(struct worker *w);          /* any thread; ends a hold, too */
void worker_stop(struct worker *w);           /* any thread; asks, never blocks */
bool worker_stopping(const struct worker *w); /* any thread; steps poll it in long loops */
void worker_join(struct worker *w);           /* after stop; blocks until the step in progress returned */
void worker_free(struct worker *w);           /* NULL is fine; joins if started */
/* Progress: each step pulses; a step that waits longer than 1 s calls it (R33). */
void worker_pulse(struct worker *w);
int64_t worker_silent_ms(const struct worker *w);               /* since the last pulse */
void worker_health(const struct worker *w, struct health *ret); /* a copy */

/* Clocks. */
int64_t clock_mono_ms(void);
int64_t clock_real_ms(void);

/*
 * Kill points for the crash tests: compiled to nothing unless CDC_TEST is defined. With
 * CDC_CRASH=name:N in the environment the process dies (SIGKILL) when it passes name the Nth time.
 */
#ifdef CDC_TEST
void crash_point(const char *name);
#define CRASH_POINT(name) crash_point(name)
#else
#define CRASH_POINT(name) ((void)0)
#endif

/* The same for the watchdog: with CDC_HANG=name[:N] a thread stays for ever at its Nth (1st) passing. */
#ifdef CDC_TEST
void hang_point(const char *name);
#define HANG_POINT(name) hang_point(name)
#else
#define HANG_POINT(name) ((void)0)
#endif

#endif
