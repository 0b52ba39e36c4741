/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a data directory holds, for the operator's tools: read beside a running service, from a directory
 * whose service died, and from a copy. Nothing is written, no file comes into being, and the service never
 * waits for us (at most the marks that any reader of SQLite sets). Figures of a running task are of about
 * one moment: what was applied is read before what is in the journal.
 */
#ifndef CDC_CONTROL_JOURNAL_PEEK_H
#define CDC_CONTROL_JOURNAL_PEEK_H

#include <cdc/err.h>
#include <cdc/mem.h>
#include <cdc/model.h>

#include <sqlite3.h>

/* Opens a SQLite file only to read it, whatever state its write-ahead log is in. STATE_IO. */
int peek_open(sqlite3 **ret, const char *path, struct err *err);

struct peek_task {
	char *id;
	int segments;
	int64_t bytes;               /* on disk */
	int64_t first_seq, last_seq; /* of the entries; 0: none */
	cdc_ts last_ts;              /* of the last entry; 0: none */
	int64_t applied_seq;
	cdc_ts applied_ts; /* the target is complete up to there */
	/* not on the target: above the applied mark, and of collections on hold */
	int64_t pending, pending_rows;
	int holds;
	struct position *positions; /* where the source is read on */
	size_t position_count;
};
void peek_task_clear(struct peek_task *t);
/* dir: the task's folder. count: what is pending, too; reads all that is. STATE_IO; JOURNAL_NEWER. */
int peek_task(struct peek_task *ret, const char *dir, bool count, struct err *err);

/* Names of the folders in <data_dir>/tasks, sorted; freed by peek_names_free. STATE_IO. */
int peek_names(char ***ret, size_t *ret_count, const char *data_dir, struct err *err);
void peek_names_free(char **names, size_t n);
/* Files of the task's journal, oldest first; freed by peek_names_free. STATE_IO. */
int peek_segments(char ***ret, size_t *ret_count, const char *dir, struct err *err);

#endif
