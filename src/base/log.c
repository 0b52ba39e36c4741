/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines to the systemd journal (structured) or to stderr ("<6>time level msg key=value ...").
 * The scope is thread-local; the level is one atomic; lines are written with a single call.
 */
#include <cdc/log.h>
#include <cdc/mem.h>

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#define SCOPE_MAX 8
#define KEY_MAX 24
#define VALUE_MAX 520 /* database.collection, either of 255 */
#define LINE_MAX_ 4096

struct scope {
	char key[KEY_MAX], value[VALUE_MAX];
};

static _Thread_local struct scope scopes[SCOPE_MAX];
static atomic_int level = LOG_LVL_INFO;
static atomic_bool to_journal;

/* systemd names the journal's socket in JOURNAL_STREAM as device:inode when stderr is connected to it. */
static bool stderr_is_journal(void)
{
	const char *s = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return s && sscanf(s, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == ino;
}

void log_open(enum log_level l)
{
	atomic_store(&level, (int)l);
	atomic_store(&to_journal, stderr_is_journal());
}

void log_level_set(enum log_level l)
{
	atomic_store(&level, (int)l);
}

int log_level_parse(const char *name)
{
	static const struct {
		const char *name;
		int level;
	} names[] = {{"debug", LOG_LVL_DEBUG},     {"info", LOG_LVL_INFO},   {"warn", LOG_LVL_WARNING},
		     {"warning", LOG_LVL_WARNING}, {"error", LOG_LVL_ERROR}, {"dpanic", LOG_LVL_ERROR},
		     {"panic", LOG_LVL_ERROR},     {"fatal", LOG_LVL_ERROR}};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcasecmp(names[i].name, name) == 0)
			return names[i].level;
	return -1;
}

void log_scope(const char *key, const char *value)
{
	struct scope *free_slot = NULL;

	for (size_t i = 0; i < SCOPE_MAX; i++) {
		if (STREQ(scopes[i].key, key)) {
			free_slot = &scopes[i];
			break;
		}
		if (!scopes[i].key[0] && !free_slot)
			free_slot = &scopes[i];
	}
	if (!free_slot)
		return;
	if (!value) {
		free_slot->key[0] = 0;
		return;
	}
	snprintf(free_slot->key, KEY_MAX, "%s", key);
	snprintf(free_slot->value, VALUE_MAX, "%s", value);
}

void log_scope_number(const char *key, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	log_scope(key, value < 0 ? NULL : text);
}

static const struct log_event_kind kinds[EVENT_COUNT] = {
#define EVENT(name, level, id, fields, subject, text) \
	[EVENT_##name] = {#name, id, fields, subject, text, LOG_LVL_##level},
#include <cdc/log_events.h>
};

const struct log_event_kind *log_event_kind(enum log_event event)
{
	return &kinds[event];
}

static void write_journal(enum log_level l, const char *id, const char *file, int line, const char *text)
{
	char fields[SCOPE_MAX][8 + KEY_MAX + VALUE_MAX], *message = xasprintf("MESSAGE=%s", text);
	char priority[16], code_file[256], code_line[32], message_id[64];
	struct iovec iov[SCOPE_MAX + 5];
	int n = 0;

	snprintf(priority, sizeof(priority), "PRIORITY=%d", (int)l);
	snprintf(code_file, sizeof(code_file), "CODE_FILE=%s", file);
	snprintf(code_line, sizeof(code_line), "CODE_LINE=%d", line);
	iov[n++] = (struct iovec){message, strlen(message)};
	iov[n++] = (struct iovec){priority, strlen(priority)};
	iov[n++] = (struct iovec){code_file, strlen(code_file)};
	iov[n++] = (struct iovec){code_line, strlen(code_line)};
	if (id) {
		snprintf(message_id, sizeof(message_id), "MESSAGE_ID=%s", id);
		iov[n++] = (struct iovec){message_id, strlen(message_id)};
	}
	for (size_t i = 0; i < SCOPE_MAX; i++) {
		if (!scopes[i].key[0])
			continue;
		snprintf(fields[i], sizeof(fields[i]), "CDC_%.*s=%.*s", KEY_MAX - 1, scopes[i].key,
			 VALUE_MAX - 1, scopes[i].value);
		for (char *p = fields[i]; *p != '='; p++)
			*p = (char)toupper((unsigned char)*p);
		iov[n++] = (struct iovec){fields[i], strlen(fields[i])};
	}
	sd_journal_sendv(iov, n);
	free(message);
}

static const char *level_name(enum log_level l)
{
	switch (l) {
	case LOG_LVL_ERROR:
		return "error";
	case LOG_LVL_WARNING:
		return "warning";
	case LOG_LVL_INFO:
		return "info";
	case LOG_LVL_DEBUG:
		return "debug";
	}
	return "?";
}

static void write_stderr(enum log_level l, const char *text)
{
	AUTO_BUF struct buf b = {0};
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	buf_addf(&b, "<%d>%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s %s", (int)l, tm.tm_year + 1900,
		 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ts.tv_nsec / 1000000,
		 level_name(l), text);
	for (size_t i = 0; i < SCOPE_MAX; i++)
		if (scopes[i].key[0])
			buf_addf(&b, " %s=%s", scopes[i].key, scopes[i].value);
	buf_addc(&b, '\n');
	if (write(STDERR_FILENO, b.data, b.len) < 0)
		return; /* nobody to tell */
}

static void __attribute__((format(printf, 5, 0)))
write_line(enum log_level l, const char *id, const char *file, int line, const char *fmt, va_list ap)
{
	char text[LINE_MAX_];

	if ((int)l > atomic_load(&level))
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	for (char *p = text; *p; p++) /* one line is one event; peers may send control characters */
		if ((unsigned char)*p < ' ')
			*p = ' ';
	if (atomic_load(&to_journal))
		write_journal(l, id, file, line, text);
	else
		write_stderr(l, text);
}

void log_write(enum log_level l, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(l, NULL, file, line, fmt, ap);
	va_end(ap);
}

void log_write_event(enum log_event event, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(kinds[event].level, kinds[event].id, file, line, fmt, ap);
	va_end(ap);
}
