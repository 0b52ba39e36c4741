/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the table of events (cdc/log_events.h) as a message catalog for journalctl -x. Runs while building.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct event {
	const char *id, *fields, *subject, *text;
};

static const struct event events[] = {
#define EVENT(name, level, id, fields, subject, text) {id, fields, subject, text},
#include "../../include/cdc/log_events.h"
};

/* Lines of the width that journalctl indents. */
static void folded(const char *s)
{
	size_t column = 0;

	while (*s) {
		size_t n = strcspn(s, " \n");

		if (column && column + 1 + n > 72) {
			putchar('\n');
			column = 0;
		} else if (column) {
			putchar(' ');
			column++;
		}
		fwrite(s, 1, n, stdout);
		column += n;
		s += n;
		if (*s == '\n') {
			putchar('\n');
			column = 0;
		}
		s += *s != 0;
	}
	putchar('\n');
}

/* "task channel?" as "CDC_TASK, CDC_CHANNEL where it is about one" */
static void told(const char *fields)
{
	const char *comma = "";

	if (!*fields)
		return;
	printf("\nFields: ");
	while (*fields) {
		size_t n = strcspn(fields, " ?");

		printf("%sCDC_", comma);
		for (size_t i = 0; i < n; i++)
			putchar(toupper((unsigned char)fields[i]));
		fields += n;
		if (*fields == '?') {
			printf(" (if there is one)");
			fields++;
		}
		fields += *fields == ' ';
		comma = ", ";
	}
	putchar('\n');
}

int main(void)
{
	puts("# SPDX-License-Identifier: Apache-2.0");
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		printf("\n-- %s\nSubject: %s\nDefined-By: milvus-cdc\n\n", events[i].id, events[i].subject);
		folded(events[i].text);
		told(events[i].fields);
	}
	return 0;
}
