/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two configurations: names of keys only, as values may be secrets. Pure. */
#include <cdc/conf.h>

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && STREQ(a, b));
}

static bool same_list(char **a, char **b)
{
	while (*a && *b && STREQ(*a, *b)) {
		a++;
		b++;
	}
	return !*a && !*b;
}

static bool same(const struct conf_key *k, const char *a, const char *b)
{
	switch (k->type) {
	case CONF_STRING:
		return same_text(*(char *const *)a, *(char *const *)b);
	case CONF_LIST:
		return same_list(*(char **const *)a, *(char **const *)b);
	case CONF_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case CONF_LEVEL:
	case CONF_INT:
	case CONF_MILLISECONDS:
		return *(const int *)a == *(const int *)b;
	case CONF_SIZE:
	case CONF_SECONDS:
		return *(const int64_t *)a == *(const int64_t *)b;
	}
	return false;
}

size_t conf_diff(const struct conf *a, const struct conf *b, struct buf *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *k = &conf_keys[i];

		if (same(k, (const char *)a + k->offset, (const char *)b + k->offset))
			continue;
		if (n++)
			buf_adds(ret, ", ");
		buf_adds(ret, k->path);
	}
	return n;
}
