/* SPDX-License-Identifier: Apache-2.0 */
/* The running daemon: from a loaded configuration to a clean stop. Main thread only. */
#ifndef CDC_CONTROL_SUPERVISOR_H
#define CDC_CONTROL_SUPERVISOR_H

#include <cdc/conf.h>

/* Blocks SIGTERM, SIGINT and SIGHUP in this and all later threads, ignores SIGPIPE. First thing in main. */
void supervisor_signals(void);
/* Runs until SIGTERM or SIGINT; 0 on a clean stop. LOCKED, STATE_IO, CONFIG, JOURNAL_NEWER: did not start. */
int supervisor_run(const struct conf *conf, struct err *err);

#endif
