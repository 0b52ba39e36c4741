/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the doctor's files share. doctor.c: the order of things; doctor_local.c: this machine;
 * doctor_source.c: etcd; doctor_kafka.c: the queue; doctor_tasks.c: the tasks' targets; doctor_tls.c: dates.
 * A check ends within CHECK_MS; what a failed check would have told is left out, not guessed. One thread.
 */
#ifndef CDC_CONTROL_DOCTOR_PRIV_H
#define CDC_CONTROL_DOCTOR_PRIV_H

#include <cdc/conf.h>
#include <cdc/source.h>
#include <cdc/wire.h>

#include "journal_peek.h"
#include "task_store.h"

#define CHECK_MS 4000

enum verdict { OK, WARN, FAIL };

struct doctor {
	FILE *out;
	const char *file;
	struct conf *conf;
	struct arena *arena; /* for the whole run */
	int failed, warned;
	bool data_dir;   /* it is there and can be read */
	int64_t service; /* process that has the data directory; 0: none, or not known */
	struct task_row *tasks;
	size_t task_count;
	struct peek_task *journals; /* of the tasks; id NULL: not readable */
	struct etcd *etcd;
	bool etcd_ok;
	const char **pchannels; /* of live collections */
	size_t pchannel_count;
	int64_t etcd_clock_ms; /* the source's own, as etcd has it; 0: not known */
	bool kafka_ok;
};

/* "ok    what: found (remedy)". remedy: "" or what to do. */
void doctor_say(struct doctor *d, enum verdict v, const char *what, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

void doctor_data_dir(struct doctor *d);
void doctor_disk(struct doctor *d); /* after the tasks are read */
void doctor_sqlite(struct doctor *d);
void doctor_secrets(struct doctor *d);
void doctor_etcd(struct doctor *d);
void doctor_kafka(struct doctor *d);
void doctor_read_tasks(struct doctor *d);
void doctor_tasks(struct doctor *d);

/* Dates of the client certificate and of what the server at host:port shows. */
void doctor_tls(struct doctor *d, const char *what, const struct conf_tls *t, const char *host, int port);

#endif
