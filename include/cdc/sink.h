/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sink: the target of a task. An ops table, so that another way of writing is one file and one
 * table row. A handle belongs to one applier thread; blocking calls end early (STOPPED) when
 * conf.poll answers true, and call it at least every second (R33).
 */
#ifndef CDC_SINK_H
#define CDC_SINK_H

#include <cdc/conf.h>
#include <cdc/err.h>
#include <cdc/mem.h>
#include <cdc/model.h>

/* How to reach a target: from the create request, stored with the task. Secrets inside. */
struct target_conf {
	char *host;
	int port;
	char *authorization; /* "user:password" or a token, plain; NULL: none. Secret. */
	struct conf_tls tls;
	int connect_timeout_ms;
};
void target_conf_free(struct target_conf *t); /* the strings and t itself; NULL is fine */
struct target_conf *target_conf_copy(const struct target_conf *t);

/* What a probe of the target finds. */
struct target_info {
	char version[64];
	bool replicate; /* takes ReplicateMessage (ttMsgEnabled: false) */
	/* Names, IDs and creation times of some collections, to recognise the source itself (R31). */
	struct target_object {
		int64_t id;
		cdc_ts created;
		char db[256], name[256];
	} * objects; /* in the arena */
	size_t object_count;
};
/*
 * Connects within connect_timeout_ms and looks. TARGET_LOST (address and reason), TARGET_AUTH,
 * TARGET_BAD (something answers, but it is no Milvus), all before anything is written.
 */
int target_probe(const struct target_conf *t, struct arena *arena, struct target_info *ret, struct err *err);

/*
 * Names on the target. An item maps one collection, or with collection "*" a whole database (its
 * collections keep their names). The item of a collection goes before that of its database; what no item
 * names keeps its name. "" is the database "default". Pure (name_map.c); NULL maps nothing.
 */
struct name_map_item {
	char *db, *collection;       /* at the source */
	char *to_db, *to_collection; /* on the target; to_collection "*" with collection "*" */
};
struct name_map {
	struct name_map_item *items;
	size_t count;
};
/* The answers are borrowed from the map or from the arguments. */
const char *name_map_db(const struct name_map *m, const char *db);
struct name_map name_map_copy(const struct name_map *m); /* the caller's, with its strings */
void name_map_clear(struct name_map *m);
void name_map_collection(const struct name_map *m, const char *db, const char *collection, const char **to_db,
			 const char **to_collection);

struct sink;

struct sink_conf {
	const struct target_conf *target;
	const struct name_map *names; /* borrowed while the sink is open; NULL: none */
	uint64_t identity;            /* see rewrite.h */
	int request_timeout_ms;
	bool (*poll)(void *arg); /* true: end early */
	void *poll_arg;
	/* Told in words when something was applied otherwise than it says (fewer replicas); may be NULL. */
	void (*note)(void *arg, const char *text);
	void *note_arg;
};

struct sink_refusal {
	int64_t collection_id, seq; /* first entry of that collection in the window that was refused */
	bool unclear;               /* entries of the collection after it may have been confirmed */
	char reason[512];
};

struct sink_window {
	const struct entry *entries; /* INSERT and DELETE only, in order */
	const cdc_ts *out;           /* out timestamps, one an entry */
	size_t count;
	int32_t version;
	int64_t merge_limit;
};

struct sink_ops {
	const char *name; /* "replicate" */
	/* The target has a time of its own: no ticks are sent, tasks of one target do not wait for each
	 * other. */
	bool own_time;
	int (*open)(struct sink **ret, const struct sink_conf *conf, struct err *err); /* no I/O */
	void (*close)(struct sink *s);
	/* The objects of apply.db, once, after open. JOURNAL_BAD. */
	int (*restore)(struct sink *s, const struct state_row *objects, size_t n, struct err *err);
	/*
	 * Sends a data window and returns when all of it is confirmed. May be repeated any number of
	 * times until a tick above it is sent (J6). No tick is sent. Definite refusals (R23) are
	 * reported per collection in the arena, the rest of the window is confirmed all the same.
	 * Errors (TARGET_LOST, _BUSY, _AUTH, STOPPED): the window is in doubt, call again.
	 */
	int (*write)(struct sink *s, const struct sink_window *w, struct arena *arena,
		     struct sink_refusal **refused, size_t *refused_count, struct err *err);
	/*
	 * Applies one DDL entry, idempotently: it may be repeated after a crash at any point. out_ts:
	 * its time on the target. *ret: the objects that changed, to be stored with the mark; arena.
	 * TARGET_REFUSED / TARGET_SCHEMA: never going to work as it is: hold the collection.
	 */
	int (*ddl)(struct sink *s, const struct entry *e, cdc_ts out_ts, struct arena *arena,
		   struct state_row **ret, size_t *ret_count, struct err *err);
	/* Makes everything <= ts visible: a tick to every pchannel in use on the target (R26, R27).
	 * Confirmed when it returns 0. May be repeated. Ticks at or below an earlier one do nothing. */
	int (*tick)(struct sink *s, cdc_ts ts, struct err *err);
	/* Best effort after the covering tick (R24): never waited for, never an error. */
	void (*flush)(struct sink *s, const struct entry *e);
};

extern const struct sink_ops sink_replicate; /* targets with ttMsgEnabled: false */
extern const struct sink_ops sink_upsert;    /* ordinary targets (R28) */
/* By the name of its table ("replicate", "upsert"); NULL: there is none. */
const struct sink_ops *sink_select(const char *name);

#endif
