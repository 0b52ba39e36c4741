/* SPDX-License-Identifier: Apache-2.0 */
/*
 * R32: one writer a target. For every target of a task a key in the source's etcd says which daemon writes
 * to it. A second one that sees the key of another stays away from the target until that is gone; etcd being
 * away stops nobody. A daemon is its data directory: the file "instance" in it, the host and the path.
 *
 * What this cannot see: a daemon with another source, and one that knows the target by another address.
 */
#ifndef CDC_CONTROL_OWNER_H
#define CDC_CONTROL_OWNER_H

#include <cdc/conf.h>
#include <cdc/err.h>
#include <cdc/model.h>

struct owner;

/* The key in etcd that says who writes to a target, seen from this host; freed by the caller. */
char *owner_path(const struct conf *conf, const char *host, const char *target_key);
/* Its value is who we are: the instance (the content of <data_dir>/instance), one blank, words for people. */
#define OWNER_INSTANCE 32

struct owner_conf {
	const struct conf *conf; /* with a source; borrowed */
	/*
	 * From the owner's thread, without locks: tasks of that target must not write for that reason; NULL:
	 * they may. Told when it changes.
	 */
	void (*tell)(void *arg, const char *target_key, const char *reason);
	/*
	 * R21, from the owner's thread, before the tell: the target is ours since now. No tick that another
	 * has sent to it is above that time.
	 */
	void (*taken)(void *arg, const char *target_key, cdc_ts bound);
	void *arg;
};
/* Makes or reads <data_dir>/instance; the directory is locked. Starts a thread. STATE_IO. */
int owner_new(struct owner **ret, const struct owner_conf *conf, struct err *err);
/* Ends the thread, which gives the keys up (< 1 s). NULL is fine. */
void owner_free(struct owner *o);
/*
 * Any thread. A task writes to that target from now on. False: not yet; *reason (size n) says why, "" while
 * that is not known.
 */
bool owner_want(struct owner *o, const char *target_key, char *reason, size_t n);
/* Any thread. No task writes to it any more. */
void owner_drop(struct owner *o, const char *target_key);

#endif
