/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See upsert_lanes.h. Each thread takes the next request that nobody has taken; after an error none is
 * taken any more. What a thread writes of a request is read by the caller only after it has waited.
 */
#include "upsert_lanes.h"

#include <cdc/worker.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define CODE_VAGUE 65535 /* Milvus: "unexpected error", also while it is starting */

struct lane {
	struct upsert_lanes *lanes;
	struct milvus *milvus; /* the lane's thread */
	pthread_t thread;
	int number;
};

struct upsert_lanes {
	struct lane lane[UPSERT_LANES];

	pthread_mutex_t mutex;
	pthread_cond_t cond;
	/* under mutex */
	struct upsert_request *const *requests;
	size_t count, next, busy;
	struct upsert_no *refused; /* one a request, written by who sent it */
	size_t refused_count;
	int rc; /* the first error */
	struct err err;
	bool end;
};

static void send_one(struct lane *lane, const struct upsert_request *r)
{
	struct upsert_lanes *l = lane->lanes;
	struct milvus_status st;
	struct upsert_no *no;
	struct err err;
	int rc;

	HANG_POINT("lane");
	rc = milvus_change_rows(lane->milvus, r, &st, &err);
	CRASH_POINT("lane_answered");
	pthread_mutex_lock(&l->mutex);
	if (rc == -ERR_TARGET_REFUSED) {
		no = &l->refused[l->refused_count++];
		no->request = r;
		no->vague = st.code == CODE_VAGUE;
		snprintf(no->reason, sizeof(no->reason), "%.500s", err.text);
	} else if (rc < 0 && l->rc == 0) {
		l->rc = rc;
		l->err = err;
	}
	pthread_mutex_unlock(&l->mutex);
}

static void *lane_main(void *arg)
{
	struct lane *lane = arg;
	struct upsert_lanes *l = lane->lanes;
	char name[16];

	snprintf(name, sizeof(name), "lane-%d", lane->number);
	prctl(PR_SET_NAME, name);
	pthread_mutex_lock(&l->mutex);
	while (!l->end) {
		const struct upsert_request *r;

		if (l->next == l->count || l->rc < 0) {
			pthread_cond_wait(&l->cond, &l->mutex);
			continue;
		}
		r = l->requests[l->next++];
		l->busy++;
		pthread_mutex_unlock(&l->mutex);
		send_one(lane, r);
		pthread_mutex_lock(&l->mutex);
		l->busy--;
		pthread_cond_broadcast(&l->cond);
	}
	pthread_mutex_unlock(&l->mutex);
	return NULL;
}

struct upsert_lanes *upsert_lanes_new(const struct sink_conf *conf)
{
	struct upsert_lanes *l = xcalloc(1, sizeof(*l));
	sigset_t all, old;

	pthread_mutex_init(&l->mutex, NULL);
	pthread_cond_init(&l->cond, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (int i = 0; i < UPSERT_LANES; i++) {
		struct lane *lane = &l->lane[i];

		lane->lanes = l;
		lane->number = i;
		lane->milvus = milvus_new(conf->target, conf->request_timeout_ms, conf->poll, conf->poll_arg);
		if (pthread_create(&lane->thread, NULL, lane_main, lane) != 0)
			abort();
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return l;
}

int upsert_lanes_run(struct upsert_lanes *l, struct upsert_request *const *requests, size_t n,
		     struct arena *arena, struct upsert_no **ret, size_t *ret_count, struct err *err)
{
	struct upsert_no *refused = arena_alloc(arena, (n + 1) * sizeof(*refused));
	int rc;

	*ret = refused;
	*ret_count = 0;
	if (n == 0)
		return 0;
	pthread_mutex_lock(&l->mutex);
	l->requests = requests;
	l->count = n;
	l->next = l->refused_count = 0;
	l->refused = refused;
	l->rc = 0;
	pthread_cond_broadcast(&l->cond);
	while (l->busy || (l->next < l->count && l->rc == 0))
		pthread_cond_wait(&l->cond, &l->mutex);
	l->count = l->next = 0;
	*ret_count = l->refused_count;
	rc = l->rc;
	if (rc < 0)
		*err = l->err;
	l->rc = 0;
	pthread_mutex_unlock(&l->mutex);
	return rc;
}

void upsert_lanes_free(struct upsert_lanes *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->mutex);
	l->end = true;
	pthread_cond_broadcast(&l->cond);
	pthread_mutex_unlock(&l->mutex);
	for (int i = 0; i < UPSERT_LANES; i++) {
		pthread_join(l->lane[i].thread, NULL);
		milvus_free(l->lane[i].milvus);
	}
	pthread_cond_destroy(&l->cond);
	pthread_mutex_destroy(&l->mutex);
	free(l);
}
