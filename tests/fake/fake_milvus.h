/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target Milvus in memory behind src/data/milvus.h, one for the whole process however many handles
 * milvus_new() gives out; thread-safe. It answers as a real 2.3.5 answered (the contract test runs
 * the same scenario on both). A test gets it instead of the real one by
 *
 *	#define FAKE_MILVUS
 *	#include "../fake/fake_milvus.c"
 */
#ifndef FAKE_MILVUS_H
#define FAKE_MILVUS_H

#include "../../src/data/milvus.h"

#define FAKE_COLLECTIONS 32
#define FAKE_PARTITIONS 64
#define FAKE_INDEXES 8
#define FAKE_ALIASES 16
#define FAKE_ACCESS 32

struct fake_index {
	char field[64], name[64];
	Mv__CreateIndexRequest *request; /* unpacked copy: the parameters */
};
struct fake_collection {
	int64_t id; /* 0: free */
	char db[64], name[64];
	Mv__CreateCollectionRequest *request; /* unpacked copy */
	Mv__CollectionSchema *schema;
	cdc_ts created;
	int shards, first_channel;
	char partitions[FAKE_PARTITIONS][64];
	int64_t partition_ids[FAKE_PARTITIONS];
	size_t partition_count;
	struct fake_index indexes[FAKE_INDEXES];
	size_t index_count;
	int load_state; /* 1 not loaded, 3 loaded, be it one partition */
	int replicas;
	bool by_partitions;             /* loaded by partitions: later ones are not */
	bool released[FAKE_PARTITIONS]; /* of a loaded collection */
	bool unsaved; /* its properties: 2.3 writes to etcd what was there before a change */
};
struct fake_alias {
	int64_t collection_id; /* 0: free */
	char db[64], name[64];
};
/* A user; a role; a user's role; what a role may do. The first three fields that apply, else "". */
struct fake_access {
	enum { FAKE_NOTHING, FAKE_USER, FAKE_ROLE, FAKE_BINDING, FAKE_GRANT } what;
	char user[64], role[64];
	char object_type[32], object_name[64], db[64], privilege[64];
};
struct fake_target {
	char dbs[16][64]; /* without "default" */
	size_t db_count;
	struct fake_collection collections[FAKE_COLLECTIONS];
	int64_t last_id;
	int pchannels, nodes;
	int ghosts;       /* this many ListDatabases name one, "ghost", that goes away right after */
	int races;        /* this many CreatePartition calls hit the metadata race */
	bool swap_shards; /* Describe lists vchannels in reverse */
	bool lie;         /* Describe gives pchannels that are not the vchannels' */
	bool newer;       /* knows AlterIndex, AlterDatabase and how to remove properties */
	bool denied;      /* our user may not manage users, roles and privileges */
	bool no_login;    /* our user is refused altogether */
	struct fake_alias aliases[FAKE_ALIASES];
	struct fake_access access[FAKE_ACCESS];
	char password[80];     /* of the last user made */
	size_t calls, changes; /* all RPCs; those that change something */
	/* The call number fail_at (from 1) answers fail_rc; executed: it is done all the same. 0: none */
	size_t fail_at;
	int fail_rc;
	bool fail_executed;
	struct buf log;      /* "DropCollection default.c\n" of every changing call that was executed */
	struct buf messages; /* pchannel, ' ', size, '\n' of every replicated message */
	struct buf last;     /* the last message itself */
};
extern struct fake_target fake;

/* An empty target: 4 pchannels, 1 query node. Frees what was there. */
void fake_reset(void);
struct fake_collection *fake_find(const char *db, const char *name); /* NULL: none */
const char *fake_alias_of(const char *db, const char *alias);        /* its collection's name; "": none */
const char *fake_property(const struct fake_collection *c, const char *key); /* NULL: not set */
bool fake_partition_loaded(const struct fake_collection *c, const char *name);
struct fake_access *fake_user(const char *user);
struct fake_access *fake_role(const char *role);
size_t fake_access_count(int what);
bool fake_index_is(const struct fake_collection *c, const char *field, const char *name);
bool fake_has_db(const char *db);
/* Lines of the log that start with text. */
size_t fake_count(const char *text);

#endif
