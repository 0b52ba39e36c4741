/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines. Only the loops (worker.c), control and main call log_info and above; everything else
 * returns an error. A thread sets its scope once (task, pchannel ...); its lines carry it.
 * To the journal when stderr is connected to it (with structured fields), else to stderr with an
 * sd-daemon level prefix and key=value scope. Thread-safe, never blocks for long.
 */
#ifndef CDC_LOG_H
#define CDC_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LVL_ERROR = 3, LOG_LVL_WARNING = 4, LOG_LVL_INFO = 6, LOG_LVL_DEBUG = 7 };

void log_open(enum log_level level);
void log_level_set(enum log_level level);
int log_level_parse(const char *name); /* "debug" ... as the peer spells them; -1: unknown */
/* Scope of the calling thread; NULL clears. Copied. key is lower case, e.g. "task". */
void log_scope(const char *key, const char *value);
void log_scope_number(const char *key, int64_t value); /* below 0: not known, clears */

/*
 * Kinds of events (cdc/log_events.h): each has a level, and an ID by which journalctl -x finds the
 * explanation of cause and remedy. Whatever an operator may read is one of them.
 */
enum log_event {
#define EVENT(name, level, id, fields, subject, text) EVENT_##name,
#include <cdc/log_events.h>
	EVENT_COUNT
};
struct log_event_kind {
	const char *name, *id, *fields, *subject, *text;
	enum log_level level;
};
const struct log_event_kind *log_event_kind(enum log_event event);
#define log_event(event, ...) log_write_event(EVENT_##event, __FILE__, __LINE__, __VA_ARGS__)
void log_write_event(enum log_event event, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Without a kind: for debugging only. */
#define log_error(...) log_write(LOG_LVL_ERROR, __FILE__, __LINE__, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LVL_WARNING, __FILE__, __LINE__, __VA_ARGS__)
#define log_info(...) log_write(LOG_LVL_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LVL_DEBUG, __FILE__, __LINE__, __VA_ARGS__)
void log_write(enum log_level level, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
