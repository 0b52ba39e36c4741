/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /metrics: Prometheus text. Label values come from tables or are task ids, which are checked
 * when a task is made and bounded in number by maxTaskNum; nothing a caller sends becomes one.
 */
#include <stddef.h>

#include "api_priv.h"

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(b, "# HELP milvus_cdc_%s %s\n# TYPE milvus_cdc_%s %s\n", name, help, name, type);
}

static const struct {
	const char *name, *type, *help;
	size_t offset; /* an int64_t of struct flow_status */
	double factor;
} per_task[] = {
#define ROW(member, name, type, factor, help) \
	{ \
		name, type, help, offsetof(struct flow_status, member), factor \
	}
	ROW(captured, "captured_rows_total", "counter", 1, "Rows read from the source"),
	ROW(journaled, "journaled_rows_total", "counter", 1, "Rows in the journal, durable"),
	ROW(applied, "applied_rows_total", "counter", 1, "Rows confirmed by the target"),
	ROW(skipped, "skipped_rows_total", "counter", 1,
	    "Rows of objects that were gone before they could be seen"),
	ROW(lag_ms, "lag_seconds", "gauge", 0.001,
	    "Age of the source time up to which the target is complete"),
	ROW(journal_bytes, "journal_bytes", "gauge", 1, "Disk used by the journal"),
	ROW(last_seq, "journal_last_seq", "gauge", 1, "Number of the newest journal entry"),
	ROW(applied_seq, "journal_applied_seq", "gauge", 1, "Number of the newest applied journal entry"),
	ROW(reader_silent_ms, "reader_silent_seconds", "gauge", 0.001,
	    "Time since the reader's last sign of life"),
	ROW(applier_silent_ms, "applier_silent_seconds", "gauge", 0.001,
	    "Time since the applier's last sign of life"),
#undef ROW
};

static void write_tasks(struct buf *b, const struct task_view *views, size_t n)
{
	static const enum task_state states[] = {TASK_INITIAL, TASK_RUNNING, TASK_PAUSED};
	static const enum health_status healths[] = {HEALTH_OK, HEALTH_RETRYING, HEALTH_HELD};

	for (size_t m = 0; m < ARRAY_LEN(per_task); m++) {
		head(b, per_task[m].name, per_task[m].type, per_task[m].help);
		for (size_t i = 0; i < n; i++) {
			int64_t v;

			memcpy(&v, (const char *)&views[i].flow + per_task[m].offset, sizeof(v));
			buf_addf(b, "milvus_cdc_%s{task_id=\"%s\"} %.17g\n", per_task[m].name, views[i].id,
				 (double)v * per_task[m].factor);
		}
	}
	head(b, "held_collections", "gauge", "Collections that wait for an operator");
	for (size_t i = 0; i < n; i++)
		buf_addf(b, "milvus_cdc_held_collections{task_id=\"%s\"} %d\n", views[i].id,
			 views[i].flow.held_collections);
	head(b, "task_state", "gauge", "1 for the state that the task is in");
	for (size_t i = 0; i < n; i++)
		for (size_t s = 0; s < ARRAY_LEN(states); s++)
			buf_addf(b, "milvus_cdc_task_state{task_id=\"%s\",state=\"%s\"} %d\n", views[i].id,
				 task_state_name(states[s]), views[i].state == states[s]);
	head(b, "task_health", "gauge", "1 for the health that the task has");
	for (size_t i = 0; i < n; i++)
		for (size_t s = 0; s < ARRAY_LEN(healths); s++)
			buf_addf(b, "milvus_cdc_task_health{task_id=\"%s\",status=\"%s\"} %d\n", views[i].id,
				 health_name(healths[s]), views[i].health.status == healths[s]);
}

static void write_requests(struct buf *b, struct api_counters *counters)
{
	head(b, "requests_total", "counter", "API requests by type and result");
	for (int type = 0; type < REQUEST_COUNT; type++)
		for (int code = 0; code < ERR_COUNT; code++) {
			long long n = atomic_load(&counters->requests[type][code]);

			if (n)
				buf_addf(
					b,
					"milvus_cdc_requests_total{request_type=\"%s\",result=\"%s\"} %lld\n",
					request_names[type], err_name(code), n);
		}
}

void metrics_write(struct buf *b, struct tasks *ts, struct api_counters *counters)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct tasks_summary s;
	struct task_view *views;
	size_t n = tasks_list(ts, arena, &views);

	tasks_summary(ts, &s);
	head(b, "build_info", "gauge", "1, with the version");
	buf_addf(b, "milvus_cdc_build_info{version=\"%s\"} 1\n", CDC_VERSION);
	head(b, "source_configured", "gauge", "1 when a source is configured");
	buf_addf(b, "milvus_cdc_source_configured %d\n", s.source);
	head(b, "tasks", "gauge", "Tasks by state");
	buf_addf(b, "milvus_cdc_tasks{state=\"Initial\"} %d\n", s.initial);
	buf_addf(b, "milvus_cdc_tasks{state=\"Running\"} %d\n", s.running);
	buf_addf(b, "milvus_cdc_tasks{state=\"Paused\"} %d\n", s.paused);
	write_tasks(b, views, n);
	write_requests(b, counters);
}
