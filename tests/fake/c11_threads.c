/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C11 threads (ISO C11 7.26) over pthreads, for the thread sanitizer alone: it follows pthreads only, and
 * crashes in a thread that libc's own thrd_create made. librdkafka's threads, mutexes and conditions come
 * here, because a program's symbols go before libc's. glibc's types have the size and place of the pthread
 * ones.
 */
#if defined(__SANITIZE_THREAD__)
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t) &&
		       sizeof(thrd_t) == sizeof(pthread_t) && sizeof(once_flag) == sizeof(pthread_once_t),
	       "a C library whose C11 threads are not its pthreads");

const char *__tsan_default_suppressions(void);

/* Its atomics are not compiled for the sanitizer: what they order looks like a race inside it. */
const char *__tsan_default_suppressions(void)
{
	return "race:librdkafka.so\n";
}

struct start {
	thrd_start_t fn;
	void *arg;
};

static int result(int e)
{
	return e == 0 ? thrd_success : e == ETIMEDOUT ? thrd_timedout : e == ENOMEM ? thrd_nomem : thrd_error;
}

static void *run(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	return (void *)(intptr_t)s.fn(s.arg);
}

int thrd_create(thrd_t *ret, thrd_start_t fn, void *arg)
{
	struct start *s = malloc(sizeof(*s));
	int e;

	if (!s)
		return thrd_nomem;
	*s = (struct start){fn, arg};
	if ((e = pthread_create(ret, NULL, run, s)) != 0)
		free(s);
	return result(e);
}

int thrd_join(thrd_t thread, int *ret)
{
	void *value;
	int e = pthread_join(thread, &value);

	if (e == 0 && ret)
		*ret = (int)(intptr_t)value;
	return result(e);
}

int mtx_init(mtx_t *m, int type)
{
	pthread_mutexattr_t a;
	int e;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
	e = pthread_mutex_init((pthread_mutex_t *)m, &a);
	pthread_mutexattr_destroy(&a);
	return result(e);
}

void mtx_destroy(mtx_t *m)
{
	pthread_mutex_destroy((pthread_mutex_t *)m);
}

int mtx_lock(mtx_t *m)
{
	return result(pthread_mutex_lock((pthread_mutex_t *)m));
}

int mtx_unlock(mtx_t *m)
{
	return result(pthread_mutex_unlock((pthread_mutex_t *)m));
}

int cnd_init(cnd_t *c)
{
	return result(pthread_cond_init((pthread_cond_t *)c, NULL));
}

void cnd_destroy(cnd_t *c)
{
	pthread_cond_destroy((pthread_cond_t *)c);
}

int cnd_signal(cnd_t *c)
{
	return result(pthread_cond_signal((pthread_cond_t *)c));
}

int cnd_broadcast(cnd_t *c)
{
	return result(pthread_cond_broadcast((pthread_cond_t *)c));
}

int cnd_wait(cnd_t *c, mtx_t *m)
{
	return result(pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m));
}

int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict until)
{
	return result(pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, until));
}

void call_once(once_flag *flag, void (*fn)(void))
{
	pthread_once((pthread_once_t *)flag, fn);
}
#else
typedef int c11_threads_not_needed;
#endif
