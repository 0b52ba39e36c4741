/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread: starts tasks and API, tells systemd how things are, feeds the watchdog only while
 * every worker gives signs of life (R33), and stops everything in under 2 s. It wakes once a second
 * or for a signal. Nothing of the data path runs here.
 */
#include <cdc/log.h>
#include <cdc/task.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "api.h"
#include "status_line.h"
#include "supervisor.h"

#define TICK_MS 1000
#define STATUS_MS 5000
#define RETRY_MS 10000
#define SILENT_MS 10000
#define DRAIN_MS 700

struct supervisor {
	const struct conf *conf;
	struct tasks *tasks;
	struct api *api;
	int signals;
	bool watchdog, stuck;
	int64_t status_ms, retry_ms;
};

static void signal_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

void supervisor_signals(void)
{
	sigset_t set;

	signal_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void tell_status(const struct tasks_summary *s)
{
	AUTO_BUF struct buf b = {0};

	status_line(&b, s);
	sd_notifyf(0, "STATUS=%s", (const char *)b.data);
}

static void tell_stuck(const struct tasks_summary *s)
{
	log_scope("task", s->silent_task);
	log_scope("worker", s->silent_worker);
	log_event(WORKER_STUCK,
		  "the %s gave no sign of life for %.1f s: the watchdog is not fed until it does",
		  s->silent_worker, (double)s->silent_ms / 1000);
	log_scope("task", NULL);
	log_scope("worker", NULL);
}

static void tick(struct supervisor *s)
{
	int64_t now = clock_mono_ms();
	struct tasks_summary sum;
	bool stuck;

	tasks_summary(s->tasks, &sum);
	stuck = sum.silent_ms >= SILENT_MS;
	if (stuck && !s->stuck)
		tell_stuck(&sum);
	s->stuck = stuck;
	if (s->watchdog && !stuck)
		sd_notify(0, "WATCHDOG=1");
	if (now >= s->status_ms) {
		s->status_ms = now + STATUS_MS;
		tell_status(&sum);
	}
	if (now >= s->retry_ms) {
		s->retry_ms = now + RETRY_MS;
		tasks_retry(s->tasks);
	}
}

/*
 * SIGHUP. The configuration in use is shared by all threads and stays as it is; only the log level, which
 * is no part of what they do, is taken over.
 */
static void reload(struct supervisor *s)
{
	AUTO(conf_free) struct conf *conf = NULL;
	AUTO_BUF struct buf changed = {0};
	struct err err = {0};

	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_ms() * 1000);
	if (conf_load(&conf, s->conf->file, NULL, NULL, &err) < 0) {
		log_event(RELOAD_FAILED, "%s; the configuration in use stays", err.text);
	} else {
		log_level_set((enum log_level)conf->log_level);
		conf->log_level = s->conf->log_level; /* nothing to restart for */
		if (conf_diff(s->conf, conf, &changed))
			log_event(RELOADED,
				  "%s was read again; changed since the start, and needing a restart: %s",
				  s->conf->file, (const char *)changed.data);
		else
			log_event(RELOADED, "%s was read again; nothing in it needs a restart",
				  s->conf->file);
	}
	s->status_ms = 0;
	sd_notify(0, "READY=1");
}

/* 1: stop. */
static int take_signal(struct supervisor *s)
{
	struct signalfd_siginfo si;

	if (read(s->signals, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return 0;
	if (si.ssi_signo == SIGHUP) {
		reload(s);
		return 0;
	}
	log_debug("signal %u from process %u", si.ssi_signo, si.ssi_pid);
	return 1;
}

static void loop(struct supervisor *s)
{
	struct pollfd p = {.fd = s->signals, .events = POLLIN};

	for (;;) {
		tick(s);
		if (poll(&p, 1, TICK_MS) > 0 && take_signal(s))
			return;
	}
}

static void tell_no_source(const struct conf *c)
{
	bool etcd = c->source.etcd.address[0] != NULL, kafka = c->source.kafka.address != NULL;

	log_event(NO_SOURCE, "no source is configured: %s%s%s not set in %s; no task can be made until then",
		  etcd ? "" : "sourceConfig.etcd.address", etcd || kafka ? "" : " and ",
		  kafka  ? "is"
		  : etcd ? "sourceConfig.kafka.address is"
			 : "sourceConfig.kafka.address are",
		  c->file);
}

static int start(struct supervisor *s, struct err *err)
{
	sigset_t set;
	int rc;

	signal_set(&set);
	if ((s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return err_set(err, ERR_INTERNAL, "signalfd: %s", strerror(errno));
	s->watchdog = sd_watchdog_enabled(0, NULL) > 0;
	if ((rc = tasks_open(&s->tasks, s->conf, err)) < 0)
		return rc;
	if ((rc = api_open(&s->api, s->conf, s->tasks, err)) < 0)
		return rc;
	tasks_start(s->tasks);
	if (!conf_has_source(s->conf))
		tell_no_source(s->conf);
	log_event(STARTED, "milvus-cdc %s: API on port %d, data in %s", CDC_VERSION, api_port(s->api),
		  s->conf->data_dir);
	sd_notify(0, "READY=1");
	return 0;
}

/*
 * Flows stop while requests end; then the API, then all files. A request that sits in a call which
 * cannot be ended is left behind: its task is not ready yet, the next start removes it (R30).
 */
static void stop(struct supervisor *s)
{
	bool quiet = true;

	sd_notify(0, "STOPPING=1");
	if (s->tasks) {
		tasks_stop(s->tasks);
		quiet = tasks_drain(s->tasks, DRAIN_MS);
		if (quiet)
			api_close(s->api);
		tasks_close(s->tasks);
	}
	if (!quiet) {
		log_event(STOPPED,
			  "stopped with a request in progress, the next start finishes or undoes it");
		_exit(0);
	}
	close(s->signals);
}

/* How things were at the end is told with structured fields, for who looks for it later. */
static void tell_stopped(const struct tasks_summary *last)
{
	AUTO_BUF struct buf b = {0};

	log_scope_number("lag_ms", last->running ? last->lag_ms : -1);
	status_line(&b, last);
	log_event(STOPPED, "stopped; at last: %s", (const char *)b.data);
	log_scope("lag_ms", NULL);
}

int supervisor_run(const struct conf *conf, struct err *err)
{
	struct supervisor s = {.conf = conf, .signals = -1};
	struct tasks_summary last;
	int rc = start(&s, err);

	if (rc == 0) {
		loop(&s);
		tasks_summary(s.tasks, &last);
	}
	stop(&s);
	if (rc == 0)
		tell_stopped(&last);
	return rc;
}
