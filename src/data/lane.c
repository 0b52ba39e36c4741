/* SPDX-License-Identifier: Apache-2.0 */
/* See lane.h. Requests hold up to LANE_BYTES: the target's cost is per message, not per byte. */
#include "lane.h"

#include <cdc/log.h>
#include <cdc/worker.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define LANE_BYTES ((size_t)4 << 20)
#define LANE_MESSAGES 512
#define CODE_VAGUE 65535 /* Milvus: "unexpected error", also while it is starting */

struct lane {
	struct milvus *milvus; /* the lane's thread */
	pthread_t thread;
	int number;

	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct lane_job *job; /* under mutex; NULL: idle */
	bool end;
};

static int replicate(struct lane *l, const struct out_message *const *m, size_t n, struct milvus_status *st,
		     struct err *err)
{
	struct pb_bytes msgs[LANE_MESSAGES];
	cdc_ts begin = m[0]->min_ts, end = m[0]->max_ts;

	for (size_t i = 0; i < n; i++) {
		msgs[i] = (struct pb_bytes){m[i]->body, m[i]->size};
		if (m[i]->min_ts < begin)
			begin = m[i]->min_ts;
		if (m[i]->max_ts > end)
			end = m[i]->max_ts;
	}
	return milvus_replicate(l->milvus, m[0]->pchannel, begin, end, msgs, n, st, err);
}

/* R23: the same messages, IDs and window, one by one, to find what the target does not take. */
static int replicate_singly(struct lane *l, struct lane_job *job, const struct out_message *const *m,
			    size_t n)
{
	struct milvus_status st;

	for (size_t i = 0; i < n; i++) {
		int rc = replicate(l, m + i, 1, &st, &job->err);

		if (rc == -ERR_TARGET_REFUSED) {
			struct sink_refusal *r;

			job->refused =
				xrealloc(job->refused, (job->refused_count + 1) * sizeof(*job->refused));
			r = &job->refused[job->refused_count++];
			r->collection_id = m[i]->collection_id;
			r->seq = m[i]->first_seq;
			r->unclear = true;
			job->vague |= st.code == CODE_VAGUE;
			snprintf(r->reason, sizeof(r->reason), "%.500s", job->err.text);
			continue;
		}
		if (rc < 0)
			return err_about(rc, &job->err, m[i]->pchannel);
	}
	return 0;
}

static int send_job(struct lane *l, struct lane_job *job)
{
	struct milvus_status st;
	size_t i = 0, n;
	int rc;

	HANG_POINT("lane");
	while (i < job->count) {
		const struct out_message *const *m = job->messages + i;
		size_t bytes = m[0]->size;

		for (n = 1; i + n < job->count && n < LANE_MESSAGES && bytes + m[n]->size <= LANE_BYTES &&
			    STREQ(m[n]->pchannel, m[0]->pchannel);
		     n++)
			bytes += m[n]->size;
		rc = replicate(l, m, n, &st, &job->err);
		if (rc == -ERR_TARGET_REFUSED && job->split_refused)
			rc = replicate_singly(l, job, m, n);
		if (rc < 0)
			return err_about(rc, &job->err, m[0]->pchannel);
		CRASH_POINT("lane_answered");
		i += n;
	}
	return 0;
}

static void *lane_main(void *arg)
{
	struct lane *l = arg;
	char name[16];

	snprintf(name, sizeof(name), "lane-%d", l->number);
	prctl(PR_SET_NAME, name);
	pthread_mutex_lock(&l->mutex);
	while (!l->end) {
		struct lane_job *job = l->job;

		if (!job) {
			pthread_cond_wait(&l->cond, &l->mutex);
			continue;
		}
		pthread_mutex_unlock(&l->mutex);
		job->rc = send_job(l, job);
		pthread_mutex_lock(&l->mutex);
		l->job = NULL;
		pthread_cond_broadcast(&l->cond);
	}
	pthread_mutex_unlock(&l->mutex);
	return NULL;
}

struct lane *lane_new(int number, const struct sink_conf *conf)
{
	struct lane *l = xcalloc(1, sizeof(*l));
	sigset_t all, old;

	l->number = number;
	l->milvus = milvus_new(conf->target, conf->request_timeout_ms, conf->poll, conf->poll_arg);
	pthread_mutex_init(&l->mutex, NULL);
	pthread_cond_init(&l->cond, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&l->thread, NULL, lane_main, l) != 0)
		abort();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return l;
}

void lane_run(struct lane *l, struct lane_job *job)
{
	pthread_mutex_lock(&l->mutex);
	l->job = job;
	pthread_cond_broadcast(&l->cond);
	pthread_mutex_unlock(&l->mutex);
}

void lane_wait(struct lane *l)
{
	pthread_mutex_lock(&l->mutex);
	while (l->job)
		pthread_cond_wait(&l->cond, &l->mutex);
	pthread_mutex_unlock(&l->mutex);
}

void lane_free(struct lane *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->mutex);
	l->end = true;
	pthread_cond_broadcast(&l->cond);
	pthread_mutex_unlock(&l->mutex);
	pthread_join(l->thread, NULL);
	milvus_free(l->milvus);
	pthread_cond_destroy(&l->cond);
	pthread_mutex_destroy(&l->mutex);
	free(l);
}
