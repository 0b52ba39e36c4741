/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the table of settings (src/base/conf.def) as the body of cdc.yaml(5). Runs while building. */
#include <stdio.h>
#include <string.h>

struct key {
	const char *path, *type, *def, *text;
};

static const struct key keys[] = {
#define CONF(path, type, member, def, min, max, flags, text) {path, #type, def, text},
#include "../../src/base/conf.def"
};
static const struct key aliases[] = {
#define ALIAS(path, target) {path, "", target, ""},
#include "../../src/base/conf.def"
};
static const struct key unused[] = {
#define UNUSED(path, why) {path, "", "", why},
#include "../../src/base/conf.def"
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const char *type_words(const char *type)
{
	static const char *const words[][2] = {
		{"STRING", "text"},
		{"LIST", "list of text"},
		{"BOOL", "true or false"},
		{"INT", "number"},
		{"LEVEL", "level"},
		{"SIZE", "size: bytes, or with KiB, MiB, GiB, TiB"},
		{"SECONDS", "time: with s, m, h or d"},
		{"MILLISECONDS", "time: with ms, s, m or h"},
	};

	for (size_t i = 0; i < N(words); i++)
		if (strcmp(words[i][0], type) == 0)
			return words[i][1];
	return type;
}

/* roff would take a dash for a hyphen, a backslash for an escape and a leading dot for a request. */
static void text(const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", stdout);
	for (; *s; s++)
		if (*s == '-')
			fputs("\\-", stdout);
		else if (*s == '\\')
			fputs("\\e", stdout);
		else
			putchar(*s);
}

static void item(const char *path)
{
	fputs(".TP\n.B ", stdout);
	text(path);
	putchar('\n');
}

int main(void)
{
	puts(".SH KEYS\nA dot stands for one level of the file.");
	for (size_t i = 0; i < N(keys); i++) {
		item(keys[i].path);
		text(keys[i].text);
		printf(" (%s", type_words(keys[i].type));
		if (keys[i].def) {
			fputs("; default: ", stdout);
			text(keys[i].def);
		}
		puts(")");
	}
	puts(".SH OTHER SPELLINGS\nTaken as well, as the Go program of the same name writes them.");
	for (size_t i = 0; i < N(aliases); i++) {
		item(aliases[i].path);
		fputs("see ", stdout);
		text(aliases[i].def);
		putchar('\n');
	}
	puts(".SH ACCEPTED WITHOUT EFFECT\nKeys of that program; each is named in the log.");
	for (size_t i = 0; i < N(unused); i++) {
		item(unused[i].path);
		text(unused[i].text);
		putchar('\n');
	}
	return 0;
}
