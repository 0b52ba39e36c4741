/* SPDX-License-Identifier: Apache-2.0 */
/* See target_gate.h. One list of targets a process, one mutex for all: held for a few loads only. */
#include "target_gate.h"

#include <cdc/mem.h>

#include <pthread.h>
#include <stdlib.h>

#define FAR_BEHIND ts_from_ms(3000)

struct gate_member {
	struct target_gate *gate;
	struct gate_member *next;
	char *task;
	bool active;
	bool pin; /* nobody has it: gate_pin */
	cdc_ts ts;
};

struct target_gate {
	struct target_gate *next;
	char *target;
	struct gate_member *members;
	cdc_ts bound; /* no tick above it was ever sent */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct target_gate *gates; /* under mutex */

/* With the mutex. The target's gate, made if there is none, and no tick below bound any more. */
static struct target_gate *gate_of(const char *target, cdc_ts bound)
{
	struct target_gate *g;

	for (g = gates; g && !STREQ(g->target, target); g = g->next)
		;
	if (!g) {
		g = xcalloc(1, sizeof(*g));
		g->target = xstrdup(target);
		g->next = gates;
		gates = g;
	}
	if (bound > g->bound)
		g->bound = bound;
	return g;
}

void gate_raise(const char *target, cdc_ts bound)
{
	pthread_mutex_lock(&mutex);
	gate_of(target, bound);
	pthread_mutex_unlock(&mutex);
}

struct gate_member *gate_join(const char *target, const char *task, cdc_ts floor)
{
	struct gate_member *m = xcalloc(1, sizeof(*m));
	struct target_gate *g;

	m->task = xstrdup(task);
	pthread_mutex_lock(&mutex);
	g = gate_of(target, floor);
	m->gate = g;
	m->next = g->members;
	g->members = m;
	pthread_mutex_unlock(&mutex);
	return m;
}

/* With the mutex. */
static void take_off(struct gate_member *m)
{
	struct gate_member **p;

	for (p = &m->gate->members; *p != m; p = &(*p)->next)
		;
	*p = m->next;
	free(m->task);
	free(m);
}

void gate_leave(struct gate_member *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&mutex);
	take_off(m); /* the gate stays: a task that comes later must stay above its bound */
	pthread_mutex_unlock(&mutex);
}

static struct gate_member *pin_of(const struct target_gate *g, const char *task)
{
	struct gate_member *m;

	for (m = g->members; m && !(m->pin && STREQ(m->task, task)); m = m->next)
		;
	return m;
}

void gate_pin(const char *target, const char *task, bool doubt, cdc_ts ts)
{
	struct gate_member *m;

	pthread_mutex_lock(&mutex);
	m = pin_of(gate_of(target, 0), task);
	pthread_mutex_unlock(&mutex);
	if (!m)
		m = gate_join(target, task, 0);
	pthread_mutex_lock(&mutex);
	m->pin = true;
	m->active = doubt;
	m->ts = ts;
	pthread_mutex_unlock(&mutex);
}

void gate_unpin(const char *target, const char *task)
{
	struct gate_member *m;

	pthread_mutex_lock(&mutex);
	if ((m = pin_of(gate_of(target, 0), task)))
		take_off(m);
	pthread_mutex_unlock(&mutex);
}

void gate_activate(struct gate_member *m, cdc_ts ts)
{
	pthread_mutex_lock(&mutex);
	if (!m->active || ts > m->ts)
		m->ts = ts;
	m->active = true;
	pthread_mutex_unlock(&mutex);
}

/*
 * With the mutex. A task that is far behind goes above all that its neighbours have marked: they are held
 * back for one window then, not until it is level.
 */
static cdc_ts floor_of(const struct gate_member *m, cdc_ts ts)
{
	cdc_ts floor = m->gate->bound > ts ? m->gate->bound : ts;

	for (const struct gate_member *o = m->gate->members; o; o = o->next)
		if (o != m && o->active && o->ts > floor && o->ts - ts > FAR_BEHIND)
			floor = o->ts;
	return floor;
}

cdc_ts gate_floor(const struct gate_member *m, cdc_ts ts)
{
	cdc_ts floor;

	pthread_mutex_lock(&mutex);
	floor = floor_of(m, ts);
	pthread_mutex_unlock(&mutex);
	return floor;
}

cdc_ts gate_enter(struct gate_member *m, cdc_ts ts)
{
	cdc_ts floor;

	pthread_mutex_lock(&mutex);
	floor = floor_of(m, ts);
	if (m->active && m->ts > floor) /* promised already: a neighbour may tick up to there at any moment */
		floor = m->ts;
	m->ts = floor;
	m->active = true;
	pthread_mutex_unlock(&mutex);
	return floor;
}

void gate_deactivate(struct gate_member *m)
{
	pthread_mutex_lock(&mutex);
	m->active = false;
	pthread_mutex_unlock(&mutex);
}

bool gate_active(const struct gate_member *m)
{
	bool ret;

	pthread_mutex_lock(&mutex);
	ret = m->active;
	pthread_mutex_unlock(&mutex);
	return ret;
}

bool gate_shared(const struct gate_member *m)
{
	bool ret;

	pthread_mutex_lock(&mutex);
	ret = m->gate->members != m || m->next;
	pthread_mutex_unlock(&mutex);
	return ret;
}

cdc_ts gate_mark(struct gate_member *m, cdc_ts ts)
{
	cdc_ts low = UINT64_MAX;

	pthread_mutex_lock(&mutex);
	if (ts > m->ts)
		m->ts = ts;
	for (const struct gate_member *o = m->gate->members; o; o = o->next)
		if (o->active && o->ts < low)
			low = o->ts;
	if (low == UINT64_MAX)
		low = 0;
	if (low > m->gate->bound)
		m->gate->bound = low;
	pthread_mutex_unlock(&mutex);
	return low;
}

cdc_ts gate_bound(const struct gate_member *m)
{
	cdc_ts ret;

	pthread_mutex_lock(&mutex);
	ret = m->gate->bound;
	pthread_mutex_unlock(&mutex);
	return ret;
}

cdc_ts gate_bound_of(const char *target)
{
	cdc_ts ret;

	pthread_mutex_lock(&mutex);
	ret = gate_of(target, 0)->bound;
	pthread_mutex_unlock(&mutex);
	return ret;
}
