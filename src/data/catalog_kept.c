/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kept rows: known state that belongs to no object of the catalog: users and grants, imports that were
 * told, and the warnings themselves. Each is a state row under its own key, changed tentatively like the
 * rest of `known`: kept_set() before the journal has the cut, then commit or rollback. Values are never
 * empty. A warning is fresh from the commit that stored or changed it until it was handed up once; one
 * that was restored is not, so nothing is told again after a start. Reader's thread.
 */
#include "catalog_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct kept {
	char *key;
	uint8_t *value, *was; /* NULL: none. was: committed, when touched */
	size_t size, was_size;
	bool touched, fresh;
};

#define WARNING "warning/"

static const char *const kept_prefix[] = {"access/", "import/", WARNING};

static bool same(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
	return a && b ? a_size == b_size && memcmp(a, b, a_size) == 0 : a == b;
}

/* Index of the first key that is not less. */
static size_t lower(const struct catalog *c, const char *key)
{
	size_t lo = 0, hi = c->kept_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(c->kept[mid].key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct kept *find(const struct catalog *c, const char *key)
{
	size_t i = lower(c, key);

	return i < c->kept_count && STREQ(c->kept[i].key, key) ? &c->kept[i] : NULL;
}

static struct kept *get(struct catalog *c, const char *key)
{
	size_t i = lower(c, key);

	if (i < c->kept_count && STREQ(c->kept[i].key, key))
		return &c->kept[i];
	if (c->kept_count == c->kept_cap) {
		c->kept_cap = c->kept_cap ? c->kept_cap * 2 : 32;
		c->kept = xrealloc(c->kept, c->kept_cap * sizeof(*c->kept));
	}
	memmove(&c->kept[i + 1], &c->kept[i], (c->kept_count - i) * sizeof(*c->kept));
	c->kept_count++;
	c->kept[i] = (struct kept){.key = xstrdup(key)};
	return &c->kept[i];
}

void kept_set(struct catalog *c, const char *key, const void *msg)
{
	struct kept *k = get(c, key);

	if (!k->touched) {
		k->touched = true;
		k->was = k->value;
		k->was_size = k->size;
	} else {
		free(k->value);
	}
	k->value = NULL;
	k->size = msg ? protobuf_c_message_get_packed_size(msg) : 0;
	if (msg) {
		k->value = xmalloc(k->size);
		protobuf_c_message_pack(msg, k->value);
	}
}

bool kept_has(const struct catalog *c, const char *key)
{
	const struct kept *k = find(c, key);

	return k && k->value;
}

size_t kept_list(const struct catalog *c, const char *prefix, struct arena *arena, struct state_row **ret)
{
	size_t n = 0, len = strlen(prefix), from = lower(c, prefix), to = from;

	while (to < c->kept_count && strncmp(c->kept[to].key, prefix, len) == 0)
		to++;
	*ret = arena_alloc(arena, (to - from + 1) * sizeof(**ret));
	for (size_t i = from; i < to; i++) {
		const struct kept *k = &c->kept[i];

		if (k->value)
			(*ret)[n++] = (struct state_row){arena_strdup(arena, k->key),
							 arena_dup(arena, k->value, k->size), k->size};
	}
	return n;
}

/* Entries without a value leave. */
static void compact(struct catalog *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->kept_count; i++) {
		if (c->kept[i].value)
			c->kept[n++] = c->kept[i];
		else
			free(c->kept[i].key);
	}
	c->kept_count = n;
}

void kept_commit(struct catalog *c)
{
	bool any = false;

	for (size_t i = 0; i < c->kept_count; i++) {
		struct kept *k = &c->kept[i];

		if (!k->touched)
			continue;
		any = true;
		if (strncmp(k->key, WARNING, strlen(WARNING)) == 0 &&
		    !same(k->value, k->size, k->was, k->was_size)) {
			k->fresh = true;
			c->warned = true;
		}
		free(k->was);
		k->was = NULL;
		k->touched = false;
	}
	if (any)
		compact(c);
}

void kept_rollback(struct catalog *c)
{
	bool any = false;

	for (size_t i = 0; i < c->kept_count; i++) {
		struct kept *k = &c->kept[i];

		if (!k->touched)
			continue;
		any = true;
		free(k->value);
		k->value = k->was;
		k->size = k->was_size;
		k->was = NULL;
		k->touched = false;
	}
	if (any)
		compact(c);
}

size_t kept_changed(const struct catalog *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->kept_count; i++)
		n += c->kept[i].touched;
	return n;
}

size_t kept_rows(const struct catalog *c, struct arena *arena, struct state_row *rows)
{
	size_t n = 0;

	for (size_t i = 0; i < c->kept_count; i++) {
		const struct kept *k = &c->kept[i];

		if (k->touched && !same(k->value, k->size, k->was, k->was_size))
			rows[n++] = (struct state_row){arena_strdup(arena, k->key),
						       k->value ? arena_dup(arena, k->value, k->size) : NULL,
						       k->size};
	}
	return n;
}

static bool readable(const struct state_row *row)
{
	const ProtobufCMessageDescriptor *d =
		strncmp(row->key, WARNING, strlen(WARNING)) == 0       ? &jr__known_warning__descriptor
		: strncmp(row->key, "access/", strlen("access/")) == 0 ? &jr__known_access__descriptor
								       : &jr__known_import__descriptor;
	ProtobufCMessage *m = protobuf_c_message_unpack(d, NULL, row->size, row->value);
	bool good = m != NULL;

	if (m && d == &jr__known_access__descriptor) /* REVOKE needs all of it */
		good = ((Jr__KnownAccess *)m)->kind != KIND_GRANT || ((Jr__KnownAccess *)m)->grant;
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	return good;
}

int kept_restore(struct catalog *c, const struct state_row *row)
{
	for (size_t i = 0; i < ARRAY_LEN(kept_prefix); i++)
		if (strncmp(row->key, kept_prefix[i], strlen(kept_prefix[i])) == 0) {
			struct kept *k;

			if (!readable(row))
				return -1;
			k = get(c, row->key);
			free(k->value);
			k->value = xmemdup(row->value, row->size);
			k->size = row->size;
			c->warned |= STREQ(kept_prefix[i], WARNING);
			return 1;
		}
	return 0;
}

void kept_free(struct catalog *c)
{
	for (size_t i = 0; i < c->kept_count; i++) {
		free(c->kept[i].key);
		free(c->kept[i].value);
		free(c->kept[i].was);
	}
	free(c->kept);
}

/* --- warnings --- */

void warning_set(struct catalog *c, const char *key, cdc_ts ts, const char *fmt, ...)
{
	Jr__KnownWarning m = JR__KNOWN_WARNING__INIT;
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	m.text = text;
	m.ts = ts;
	kept_set(c, key, &m);
}

bool catalog_warned(const struct catalog *c)
{
	return c->warned;
}

size_t catalog_warnings(struct catalog *c, struct arena *arena, struct catalog_warning **ret)
{
	struct arena_pb pb = arena_pb(arena);
	size_t n = 0, i = lower(c, WARNING);

	*ret = arena_alloc(arena, (c->kept_count - i + 1) * sizeof(**ret));
	for (; i < c->kept_count && strncmp(c->kept[i].key, WARNING, strlen(WARNING)) == 0; i++) {
		struct kept *k = &c->kept[i];
		Jr__KnownWarning *m =
			k->value ? jr__known_warning__unpack((ProtobufCAllocator *)&pb, k->size, k->value)
				 : NULL;

		if (m)
			(*ret)[n++] =
				(struct catalog_warning){.text = m->text, .ts = m->ts, .fresh = k->fresh};
		k->fresh = false;
	}
	c->warned = false;
	return n;
}
