/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the source did and the task cannot replicate: the catalog's warnings, after the journal has them.
 * A new one is told once, by the note callback; all of them are copied for whoever asks. The copy belongs
 * to a lock: reader's thread writes it, any thread reads it.
 */
#include "reader_priv.h"

#include <stdlib.h>

static void put_list(struct reader *r, char **texts, size_t n)
{
	char **old;
	size_t old_n;

	pthread_mutex_lock(&r->warnings_lock);
	old = r->warnings;
	old_n = r->warning_count;
	r->warnings = texts;
	r->warning_count = n;
	pthread_mutex_unlock(&r->warnings_lock);
	for (size_t i = 0; i < old_n; i++)
		free(old[i]);
	free(old);
}

void reader_publish_warnings(struct reader *r)
{
	AUTO(arena_free) struct arena *arena = NULL;
	struct catalog_warning *v;
	char **texts;
	size_t n;

	if (!catalog_warned(r->catalog))
		return;
	arena = arena_new();
	n = catalog_warnings(r->catalog, arena, &v);
	texts = xcalloc(n + 1, sizeof(*texts));
	for (size_t i = 0; i < n; i++) {
		texts[i] = xstrdup(v[i].text);
		if (v[i].fresh && r->c.note)
			r->c.note(r->c.note_arg, v[i].text);
	}
	put_list(r, texts, n);
}

void reader_free_warnings(struct reader *r)
{
	put_list(r, NULL, 0);
	pthread_mutex_destroy(&r->warnings_lock);
}

size_t reader_warnings(struct reader *r, struct arena *arena, size_t max, const char ***ret)
{
	size_t n;

	pthread_mutex_lock(&r->warnings_lock);
	n = r->warning_count;
	*ret = arena_alloc(arena, ((n < max ? n : max) + 1) * sizeof(**ret));
	for (size_t i = 0; i < n && i < max; i++)
		(*ret)[i] = arena_strdup(arena, r->warnings[i]);
	pthread_mutex_unlock(&r->warnings_lock);
	return n;
}
