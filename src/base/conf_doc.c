/* SPDX-License-Identifier: Apache-2.0 */
/* Text and values: parsing of one value, and the table of all keys for people. Pure. */
#include <cdc/log.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include "conf_value.h"

struct unit {
	const char *name;
	int64_t factor;
};
static const struct unit size_units[] = {{"", 1},
					 {"B", 1},
					 {"KiB", 1LL << 10},
					 {"MiB", 1LL << 20},
					 {"GiB", 1LL << 30},
					 {"TiB", 1LL << 40},
					 {"kB", 1000},
					 {"KB", 1000},
					 {"MB", 1000000},
					 {"GB", 1000000000LL},
					 {"TB", 1000000000000LL}};
static const struct unit time_units[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

/* "<digits>[ ]<unit>"; false: not of this form, unknown unit or too large for 64 bits. */
static bool parse_with_unit(const char *s, const struct unit *units, size_t n, int64_t *ret)
{
	char *end;
	long long v;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoll(s, &end, 10);
	if (errno)
		return false;
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < n; i++)
		if (STREQ(units[i].name, end))
			return !__builtin_mul_overflow((int64_t)v, units[i].factor, ret);
	return false;
}

static bool parse_int(const char *s, int64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(s, &end, 10);
	return !errno && end != s && !*end && !isspace((unsigned char)*s);
}

static void show(const struct conf_key *k, int64_t v, char *ret, size_t n)
{
	if (k->type == CONF_SIZE && v && v % (1 << 20) == 0)
		snprintf(ret, n, "%" PRId64 "MiB", v >> 20);
	else if (k->type == CONF_SECONDS)
		snprintf(ret, n, "%" PRId64 "s", v);
	else if (k->type == CONF_MILLISECONDS)
		snprintf(ret, n, "%" PRId64 "ms", v);
	else
		snprintf(ret, n, "%" PRId64, v);
}

static bool in_range(const struct conf_key *k, int64_t v, char *why, size_t n)
{
	char min[32], max[32];

	if (v >= k->min && v <= k->max)
		return true;
	show(k, k->min, min, sizeof(min));
	show(k, k->max, max, sizeof(max));
	snprintf(why, n, "must be from %s to %s", min, max);
	return false;
}

static bool set_string(char **slot, const struct conf_key *k, const char *text, char *why, size_t n)
{
	if (!*text && (k->flags & CONF_REQUIRED)) {
		snprintf(why, n, "must not be empty");
		return false;
	}
	free(*slot);
	*slot = *text ? xstrdup(text) : NULL;
	return true;
}

bool conf_value_set(struct conf *c, const struct conf_key *k, const char *text, char *why, size_t n)
{
	char *slot = (char *)c + k->offset;
	const char *form = "";
	int64_t v = 0;
	bool ok = true;

	switch (k->type) {
	case CONF_STRING:
		return set_string((char **)slot, k, text, why, n);
	case CONF_LIST:
		ok = false;
		break;
	case CONF_BOOL:
		ok = STREQ(text, "true") || STREQ(text, "false");
		form = "must be true or false";
		break;
	case CONF_LEVEL:
		ok = (v = log_level_parse(text)) >= 0;
		form = "must be debug, info, warn or error";
		break;
	case CONF_INT:
		ok = parse_int(text, &v);
		form = "must be a whole number";
		break;
	case CONF_SIZE:
		ok = parse_with_unit(text, size_units, ARRAY_LEN(size_units), &v);
		form = "must be a size such as 256MiB";
		break;
	case CONF_SECONDS:
	case CONF_MILLISECONDS:
		ok = parse_with_unit(text, time_units, ARRAY_LEN(time_units), &v);
		form = "must be a duration such as 500ms, 30s or 24h";
		break;
	}
	if (!ok) {
		snprintf(why, n, "%s", form);
		return false;
	}
	if (k->type == CONF_SECONDS)
		v /= 1000;
	if (k->type == CONF_BOOL)
		*(bool *)slot = STREQ(text, "true");
	else if (k->type == CONF_LEVEL)
		*(int *)slot = (int)v;
	else if (!in_range(k, v, why, n))
		return false;
	else if (k->type == CONF_INT || k->type == CONF_MILLISECONDS)
		*(int *)slot = (int)v;
	else
		*(int64_t *)slot = v;
	return true;
}

bool conf_host_port(const char *address, char **ret_host, int *ret_port)
{
	const char *colon = strrchr(address, ':'), *host = address;
	size_t len;
	int64_t port;

	if (!colon || colon == address || !isdigit((unsigned char)colon[1]) || !parse_int(colon + 1, &port) ||
	    port > 65535)
		return false;
	len = (size_t)(colon - address);
	if (*host == '[') {
		if (len < 3 || host[len - 1] != ']')
			return false;
		host++;
		len -= 2;
	} else if (memchr(host, ':', len)) {
		return false; /* a v6 address needs brackets */
	}
	for (size_t i = 0; i < len; i++)
		if (isspace((unsigned char)host[i]) || strchr("/,@?#[]", host[i]))
			return false;
	*ret_host = xmalloc(len + 1);
	memcpy(*ret_host, host, len);
	(*ret_host)[len] = 0;
	*ret_port = (int)port;
	return true;
}

bool conf_value_endpoint(const char *s)
{
	char *host;
	int port;

	if (!conf_host_port(s, &host, &port))
		return false;
	free(host);
	return port > 0;
}

bool conf_value_endpoints(const char *s)
{
	AUTO_FREE char *copy = xstrdup(s);
	char *rest = copy, *part;

	while ((part = strsep(&rest, ",")))
		if (!conf_value_endpoint(part))
			return false;
	return true;
}

bool conf_value_choice(const char *s, const char *const *choices, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (STREQ(s, choices[i]))
			return true;
	return false;
}

void conf_list_free(char **list)
{
	for (char **p = list; p && *p; p++)
		free(*p);
	free(list);
}

void conf_help(FILE *f)
{
	static const char *const names[] = {[CONF_STRING] = "text",      [CONF_LIST] = "list",
					    [CONF_BOOL] = "true/false",  [CONF_INT] = "number",
					    [CONF_LEVEL] = "level",      [CONF_SIZE] = "size",
					    [CONF_SECONDS] = "duration", [CONF_MILLISECONDS] = "duration"};

	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *k = &conf_keys[i];

		fprintf(f, "  %-40s %-10s %s%s%s%s%s\n", k->path, names[k->type], k->text, k->def ? " [" : "",
			k->def ? k->def : "", k->def ? "]" : "", k->flags & CONF_SECRET ? " (secret)" : "");
	}
}
