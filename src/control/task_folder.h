/* SPDX-License-Identifier: Apache-2.0 */
/* The data directory: its lock, the folders of tasks and the trash. No SQLite, no flows. */
#ifndef CDC_CONTROL_TASK_FOLDER_H
#define CDC_CONTROL_TASK_FOLDER_H

#include <cdc/err.h>
#include <cdc/mem.h>

#include <stdbool.h>

/* Makes <dir> (0700) with tasks/ and trash/, and locks <dir>/lock. *ret_fd: holds the lock. */
int task_folder_open(int *ret_fd, const char *dir, struct err *err);
char *task_folder_path(const char *dir, const char *id); /* <dir>/tasks/<id>, malloc'ed */
/* Renames the folder of a task to the trash and removes it there. No folder: fine. */
int task_folder_remove(const char *dir, const char *id, struct err *err);
/* Removes what is in the trash; as far as it can. */
void task_folder_empty_trash(const char *dir);
/*
 * Moves every folder of tasks/ for which known() says no to orphaned/: a folder without a row means a
 * lost control.db, and a journal is never removed on that ground. moved() is told each id.
 */
int task_folder_sweep(const char *dir, bool (*known)(void *arg, const char *id),
		      void (*moved)(void *arg, const char *id), void *arg, struct err *err);

#endif
