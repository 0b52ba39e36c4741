/* SPDX-License-Identifier: Apache-2.0 */
/* The one line that systemctl status shows. Pure. */
#ifndef CDC_CONTROL_STATUS_LINE_H
#define CDC_CONTROL_STATUS_LINE_H

#include <cdc/task.h>

/* "2 tasks running, 1 held; lag 0.4 s; journal 412 MB, room for 31 h; ID: reason". Never a line end. */
void status_line(struct buf *b, const struct tasks_summary *s);

#endif
