/* SPDX-License-Identifier: Apache-2.0 */
/* The table of events, and lines to a stderr that is no journal. */
#include <cdc/log.h>
#include <cdc/mem.h>

#include "../t.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

TEST(every_event_has_an_id_of_its_own_a_subject_and_a_remedy)
{
	for (int i = 0; i < EVENT_COUNT; i++) {
		const struct log_event_kind *k = log_event_kind((enum log_event)i);

		CHECK_INT(strlen(k->id), 32);
		for (const char *p = k->id; *p; p++)
			CHECKF(isdigit((unsigned char)*p) || (*p >= 'a' && *p <= 'f'), "%s: %s", k->name,
			       k->id);
		CHECKF(strlen(k->subject) > 5 && !strchr(k->subject, '\n'), "%s", k->name);
		CHECKF(strlen(k->text) > 20, "%s", k->name);
		for (int j = 0; j < i; j++)
			CHECKF(!STREQ(k->id, log_event_kind((enum log_event)j)->id), "%s", k->name);
	}
}

static bool is_field(const char *name, size_t n)
{
	static const char *const known[] = {"task", "worker", "collection", "channel", "seq", "lag_ms"};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strlen(known[i]) == n && memcmp(known[i], name, n) == 0)
			return true;
	return false;
}

TEST(every_event_names_the_fields_of_its_line_once_each)
{
	for (int i = 0; i < EVENT_COUNT; i++) {
		const struct log_event_kind *k = log_event_kind((enum log_event)i);

		for (const char *p = k->fields; *p;) {
			size_t n = strcspn(p, " ?");
			char name[24];

			CHECKF(is_field(p, n), "%s: %s", k->name, p);
			snprintf(name, sizeof(name), "%.*s", (int)n, p);
			CHECKF(!strstr(p + n, name), "%s", k->name);
			p += n;
			p += *p == '?';
			CHECKF(!*p || *p == ' ', "%s: %s", k->name, k->fields);
			p += *p == ' ';
		}
		CHECKF(strncmp(k->name, "TASK_", 5) != 0 || strncmp(k->fields, "task", 4) == 0, "%s",
		       k->name);
		CHECKF(!strstr(k->name, "COLLECTION_") || strstr(k->fields, "collection seq"), "%s", k->name);
	}
}

/* What f writes to stderr. */
static char *told(void (*f)(void))
{
	int old = dup(STDERR_FILENO), fds[2];
	static char text[8192];
	ssize_t n;

	if (pipe(fds) < 0)
		abort();
	dup2(fds[1], STDERR_FILENO);
	f();
	dup2(old, STDERR_FILENO);
	close(fds[1]);
	close(old);
	n = read(fds[0], text, sizeof(text) - 1);
	close(fds[0]);
	text[n > 0 ? n : 0] = 0;
	return text;
}

static void two_lines(void)
{
	log_open(LOG_LVL_INFO);
	log_scope("task", "t1");
	log_event(COLLECTION_HELD, "collection %s is on hold:\nbecause", "a.b");
	log_debug("not at this level");
	log_scope("task", NULL);
	log_event(STARTED, "started");
}

TEST(a_line_has_level_prefix_time_and_scope_and_is_one_line)
{
	const char *text = told(two_lines), *second = strchr(text, '\n') + 1;

	CHECKF(strncmp(text, "<4>", 3) == 0, "%s", text);
	CHECK(strstr(text, "Z warning collection a.b is on hold: because task=t1\n"));
	CHECKF(strncmp(second, "<6>", 3) == 0 && strstr(second, "info started\n"), "%s", second);
	CHECK(!strchr(strchr(second, '\n') + 1, '\n'));
}

TEST_MAIN()
