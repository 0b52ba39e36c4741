/* SPDX-License-Identifier: Apache-2.0 */
/* See flusher.h. */
#include "flusher.h"

#include "milvus.h"

#include <cdc/worker.h>

#include <pthread.h>
#include <stdlib.h>

#define FLUSH_MAX 256 /* collections that wait; more are dropped: a flush is a hint */

struct flusher {
	struct milvus *milvus; /* the thread */
	struct worker *worker;
	pthread_mutex_t mutex;
	struct {
		char *db, *collection;
	} waiting[FLUSH_MAX]; /* under mutex */
	size_t count;
};

static int step(void *arg, struct err *err)
{
	struct flusher *f = arg;
	struct milvus_status st;
	char *db, *collection;

	pthread_mutex_lock(&f->mutex);
	if (f->count == 0) {
		pthread_mutex_unlock(&f->mutex);
		return 0;
	}
	db = f->waiting[0].db;
	collection = f->waiting[0].collection;
	memmove(f->waiting, f->waiting + 1, --f->count * sizeof(f->waiting[0]));
	pthread_mutex_unlock(&f->mutex);
	(void)milvus_flush(f->milvus, db, (const char *const *)&collection, 1, &st,
			   err); /* a hint, no more */
	free(db);
	free(collection);
	return 1;
}

/* Not the sink's: that is the applier's sign of life, which a flush of ours must not give (R33). */
static bool stopping(void *arg)
{
	const struct flusher *f = arg;

	return worker_stopping(f->worker);
}

struct flusher *flusher_new(const struct sink_conf *conf)
{
	struct flusher *f = xcalloc(1, sizeof(*f));

	pthread_mutex_init(&f->mutex, NULL);
	f->milvus = milvus_new(conf->target, conf->request_timeout_ms, stopping, f);
	f->worker =
		worker_new(&(struct worker_conf){.name = "flusher", .step = step, .arg = f, .idle_ms = 1000});
	worker_start(f->worker);
	return f;
}

void flusher_add(struct flusher *f, const char *db, const char *collection)
{
	bool known = false;

	pthread_mutex_lock(&f->mutex);
	for (size_t i = 0; i < f->count && !known; i++)
		known = STREQ(f->waiting[i].db, db) && STREQ(f->waiting[i].collection, collection);
	if (!known && f->count < FLUSH_MAX) {
		f->waiting[f->count].db = xstrdup(db);
		f->waiting[f->count++].collection = xstrdup(collection);
	}
	pthread_mutex_unlock(&f->mutex);
	worker_wake(f->worker);
}

void flusher_free(struct flusher *f)
{
	if (!f)
		return;
	worker_free(f->worker);
	milvus_free(f->milvus);
	while (f->count > 0) {
		free(f->waiting[--f->count].db);
		free(f->waiting[f->count].collection);
	}
	pthread_mutex_destroy(&f->mutex);
	free(f);
}
