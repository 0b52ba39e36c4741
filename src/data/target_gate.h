/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One clock of ticks a target (R22): all tasks of this process that write to one target share it. A
 * tick T makes everything <= T final on every pchannel, so it may not pass the durably marked time of
 * any task that still feeds the target, and no task may send a row at or below a tick that was sent
 * (R21). A task leaves the minimum only with no window in doubt. Thread-safe; never blocks for I/O.
 */
#ifndef CDC_DATA_TARGET_GATE_H
#define CDC_DATA_TARGET_GATE_H

#include <cdc/model.h>

struct gate_member;

/* Ticks up to there may have been sent to the target by somebody else, who has stopped (R21, R32). Windows
 * that begin after this stay above it; it is not durable. */
void gate_raise(const char *target, cdc_ts bound);

/* target: the canonical "address:port". floor: durable bound of the ticks that this task may have sent
 * in an earlier life. task: for people. The member counts for nothing until it is active. */
struct gate_member *gate_join(const char *target, const char *task, cdc_ts floor);
/* Frees it. If its task is deleted with a window in doubt, that window dies with it. NULL is fine. */
void gate_leave(struct gate_member *m);

/* From now on the member holds ticks back at ts: it has marked up to ts, or repeats a window above it. */
void gate_activate(struct gate_member *m, cdc_ts ts);
/* As above for new windows. Returns the restamp floor F >= ts: the highest tick that may ever have been
 * sent, or that a neighbour may send at any moment since this member has marked up to there. Everything
 * the member sends from now on is above F, so it holds ticks back at F only. */
cdc_ts gate_enter(struct gate_member *m, cdc_ts ts);
/* The floor of a window that is cut ahead, while the member holds ticks back at or below ts. */
cdc_ts gate_floor(const struct gate_member *m, cdc_ts ts);
/* No window in doubt and nothing to send: does not hold back the others any more. */
void gate_deactivate(struct gate_member *m);
bool gate_active(const struct gate_member *m);
/* Does the target have other members, active or not? */
bool gate_shared(const struct gate_member *m);
/* The member's time is final up to ts (never back). Returns the tick that may be sent now: the least
 * of all active members; it counts as sent from this moment on. 0: no member is active. */
cdc_ts gate_mark(struct gate_member *m, cdc_ts ts);
/*
 * Stands in for a task without a member, until it is taken off: the task has a member again, or is deleted.
 * One a task; the last call holds. doubt: it has a window in doubt above ts and holds ticks back at ts. Else
 * it holds nobody back, but it is there (gate_shared): it may come back with rows older than what is ticked
 * meanwhile.
 */
void gate_pin(const char *target, const char *task, bool doubt, cdc_ts ts);
void gate_unpin(const char *target, const char *task);
/* The highest tick that may ever have been sent, by any member or in an earlier life. */
cdc_ts gate_bound(const struct gate_member *m);
cdc_ts gate_bound_of(const char *target);

#endif
