/* SPDX-License-Identifier: Apache-2.0 */
/* See status_line.h. Each task is counted once, where an operator would look for it. */
#include "status_line.h"

#include "room.h"

static void add_count(struct buf *b, int n, int *told, const char *what)
{
	if (n == 0)
		return;
	if (!*told)
		buf_addf(b, "%d task%s %s", n, n == 1 ? "" : "s", what);
	else
		buf_addf(b, ", %d %s", n, what);
	*told = 1;
}

/* In the largest unit of which there are at least two, so that the number says something. */
static void add_scaled(struct buf *b, int64_t value, const int64_t *units, const char *const *names, int n)
{
	int i = 0;

	while (i + 1 < n && value < 2 * units[i])
		i++;
	buf_addf(b, "%lld %s", (long long)(value / units[i]), names[i]);
}

static void add_size(struct buf *b, int64_t bytes)
{
	static const int64_t units[] = {1000000000, 1000000, 1000};
	static const char *const names[] = {"GB", "MB", "kB"};

	add_scaled(b, bytes, units, names, (int)ARRAY_LEN(units));
}

static void add_time(struct buf *b, int64_t ms)
{
	static const int64_t units[] = {86400000, 3600000, 60000, 1000};
	static const char *const names[] = {"days", "h", "min", "s"};

	add_scaled(b, ms, units, names, (int)ARRAY_LEN(units));
}

void status_line(struct buf *b, const struct tasks_summary *s)
{
	size_t start = b->len;
	int told = 0;

	if (!s->source)
		buf_adds(b, "no source configured; ");
	add_count(b, s->flowing, &told, "running");
	add_count(b, s->resting, &told, "paused");
	add_count(b, s->initial, &told, "starting");
	add_count(b, s->retrying, &told, "retrying");
	add_count(b, s->held, &told, "held");
	if (!told)
		buf_adds(b, "no tasks");
	if (s->flowing)
		buf_addf(b, "; lag %.1f s", (double)s->lag_ms / 1000);
	if (s->total) {
		buf_adds(b, "; journal ");
		add_size(b, s->journal_bytes);
	}
	if (s->total && s->room_ms != ROOM_UNKNOWN) {
		buf_adds(b, ", room for ");
		add_time(b, s->room_ms);
	}
	if (s->reason[0])
		buf_addf(b, "; %s", s->reason);
	for (size_t i = start; i < b->len; i++)
		if (b->data[i] < ' ')
			b->data[i] = ' '; /* a line end would begin another assignment of sd_notify */
}
