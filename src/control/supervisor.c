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

	if (!s->source)
		buf_adds(&b, "no source configured; ");
	buf_addf(&b, "%d task%s", s->total, s->total == 1 ? "" : "s");
	if (s->total)
		buf_addf(&b, ": %d running, %d paused", s->running, s->paused);
	if (s->initial)
		buf_addf(&b, ", %d starting", s->initial);
	if (s->running)
		buf_addf(&b, ", lag %.1f s", (double)s->lag_ms / 1000);
	if (s->held || s->retrying)
		buf_addf(&b, "; %d held, %d retrying; %s", s->held, s->retrying, s->reason);
	for (size_t i = 0; i < b.len; i++)
		if (b.data[i] == '\n')
			b.data[i] = ' '; /* a newline would begin another assignment */
	sd_notifyf(0, "STATUS=%s", (const char *)b.data);
}

static void tick(struct supervisor *s)
{
	int64_t now = clock_mono_ms();
	struct tasks_summary sum;
	bool stuck;

	tasks_summary(s->tasks, &sum);
	stuck = sum.silent_ms >= SILENT_MS;
	if (stuck && !s->stuck)
		log_error("a worker gave no sign of life for %lld ms: the watchdog is not fed until it does",
			  (long long)sum.silent_ms);
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

/* 1: stop. */
static int take_signal(struct supervisor *s)
{
	struct signalfd_siginfo si;

	if (read(s->signals, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return 0;
	if (si.ssi_signo == SIGHUP) {
		log_info("SIGHUP: nothing is reloaded while running, restart to use a changed configuration");
		return 0;
	}
	log_info("stopping (signal %u)", si.ssi_signo);
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
		log_warning("no source configured in %s: create will answer 503", s->conf->file);
	log_info("milvus-cdc %s: API on port %d, data in %s", CDC_VERSION, api_port(s->api),
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

	sd_notify(0, "STOPPING=1\nSTATUS=stopping");
	if (s->tasks) {
		tasks_stop(s->tasks);
		quiet = tasks_drain(s->tasks, DRAIN_MS);
		if (quiet)
			api_close(s->api);
		tasks_close(s->tasks);
	}
	if (!quiet) {
		log_warning("stopped with a request in progress, the next start finishes or undoes it");
		_exit(0);
	}
	close(s->signals);
}

int supervisor_run(const struct conf *conf, struct err *err)
{
	struct supervisor s = {.conf = conf, .signals = -1};
	int rc = start(&s, err);

	if (rc == 0)
		loop(&s);
	stop(&s);
	if (rc == 0)
		log_info("stopped");
	return rc;
}
