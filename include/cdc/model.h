/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of the data path: timestamps, positions, records, entries, cuts.
 *
 * record: one message of a pchannel, as read. entry: one immutable row of the journal. cut: all
 * entries of (previous watermark, watermark] in total order, plus the positions that cover them:
 * the state of the source at that instant. Total order inside and between cuts (R12):
 * (ts, DDL that creates, Delete before Insert, other DDL, pchannel, id).
 */
#ifndef CDC_MODEL_H
#define CDC_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Hybrid timestamp of a Milvus cluster: (unix ms << 18) | counter; one oracle a cluster. */
typedef uint64_t cdc_ts;
#define TS_LOGICAL_BITS 18
static inline int64_t ts_ms(cdc_ts ts)
{
	return (int64_t)(ts >> TS_LOGICAL_BITS);
}
static inline cdc_ts ts_from_ms(int64_t ms)
{
	return (cdc_ts)ms << TS_LOGICAL_BITS;
}

/*
 * Kinds: the numbers are stored in journals and never change. Data: INSERT, DELETE. TICK and
 * OTHER and IMPORT exist only as records. Everything from 10 on is DDL: a barrier, a window of its own (R18),
 * except FLUSH, which is advisory (R24).
 */
#define KIND_TABLE(X) \
	X(NONE, 0, "none") \
	X(INSERT, 1, "insert") \
	X(DELETE, 2, "delete") \
	X(TICK, 3, "tick") \
	X(OTHER, 4, "other") \
	X(IMPORT, 5, "import") \
	X(CREATE_DATABASE, 10, "create database") \
	X(DROP_DATABASE, 11, "drop database") \
	X(CREATE_COLLECTION, 12, "create collection") \
	X(DROP_COLLECTION, 13, "drop collection") \
	X(CREATE_PARTITION, 14, "create partition") \
	X(DROP_PARTITION, 15, "drop partition") \
	X(CREATE_INDEX, 16, "create index") \
	X(DROP_INDEX, 17, "drop index") \
	X(LOAD, 18, "load") \
	X(RELEASE, 19, "release") \
	X(FLUSH, 20, "flush") \
	X(ALTER_COLLECTION, 21, "alter collection") \
	X(RENAME_COLLECTION, 22, "rename collection") \
	X(CREATE_ALIAS, 23, "create alias") \
	X(ALTER_ALIAS, 24, "alter alias") \
	X(DROP_ALIAS, 25, "drop alias") \
	X(ALTER_DATABASE, 26, "alter database") \
	X(ALTER_INDEX, 27, "alter index") \
	X(LOAD_PARTITIONS, 28, "load partitions") \
	X(RELEASE_PARTITIONS, 29, "release partitions") \
	X(CREATE_USER, 30, "create user") \
	X(DROP_USER, 31, "drop user") \
	X(CREATE_ROLE, 32, "create role") \
	X(DROP_ROLE, 33, "drop role") \
	X(ADD_USER_TO_ROLE, 34, "add user to role") \
	X(REMOVE_USER_FROM_ROLE, 35, "remove user from role") \
	X(GRANT, 36, "grant") \
	X(REVOKE, 37, "revoke")
enum kind {
#define X(name, n, text) KIND_##name = n,
	KIND_TABLE(X)
#undef X
};
static inline bool kind_is_ddl(enum kind k)
{
	return k >= KIND_CREATE_DATABASE;
}
const char *kind_name(enum kind k);

/* Identity of a message inside its pchannel, ordered. Kafka: hi 0, lo the offset. */
struct mq_id {
	uint64_t hi, lo;
};
static inline int mq_id_cmp(struct mq_id a, struct mq_id b)
{
	if (a.hi != b.hi)
		return a.hi < b.hi ? -1 : 1;
	return a.lo < b.lo ? -1 : a.lo > b.lo;
}

#define PCHANNEL_MAX 256 /* with the NUL; a Kafka topic name has at most 249 bytes */

/*
 * Where to read on in one pchannel, and up to where everything is covered (R1): `next` is the
 * first message to read (inclusive), messages with a timestamp <= ts are to be discarded.
 * guard (R11): one message that was consumed, to recognise a topic that was recreated.
 */
struct position {
	char pchannel[PCHANNEL_MAX];
	struct mq_id next;
	cdc_ts ts;
	struct {
		bool set;
		struct mq_id id;
		int64_t time_ms; /* the broker's timestamp of that message */
		uint64_t hash;   /* hash64 of its value */
	} guard;
};

/*
 * One message as read. Strings and body point into the broker's buffer, which lives until
 * record_release(). A record belongs to whoever holds it; handing it on moves it.
 */
struct record {
	enum kind kind; /* INSERT, DELETE, TICK, DROP_*, FLUSH ... OTHER: readable, unused */
	cdc_ts ts;      /* of data: the greatest of timestamps[]; else base.timestamp */
	int pchannel;   /* index that the caller of the source gave to this pchannel */
	struct mq_id id;
	int64_t collection_id, partition_id; /* 0 when the kind has none; partition -1 = all */
	const char *vchannel;                /* not NUL-terminated; NULL when the kind has none */
	size_t vchannel_len;
	uint64_t msg_id; /* base.msgID of the source: recognises a producer's retry */
	uint32_t rows;
	const uint8_t *body; /* the message value as it came */
	size_t size;
	int64_t time_ms; /* the broker's timestamp */
	void *handle;    /* the broker's buffer; record_release frees it */
	void (*release)(void *handle);
};
static inline void record_release(struct record *r)
{
	if (r->release)
		r->release(r->handle);
	r->release = NULL;
	r->handle = NULL;
}

/*
 * One journal row. seq is given by the journal at append. Pointers are owned by whoever built the
 * entry (an arena, a record) and are valid for the call they are passed to, unless said otherwise.
 * body: of data the source's message as it came; of DDL a serialized jr.Ddl (src/proto/journal.proto).
 */
struct entry {
	int64_t seq;
	cdc_ts ts;
	enum kind kind;
	int64_t db_id, collection_id, partition_id;
	const char *db;         /* name for people; "" when the kind has none */
	const char *collection; /* name for people */
	const char *vchannel;   /* source vchannel; "" when none */
	const char *pchannel;   /* source pchannel; "" when none */
	struct mq_id id;        /* in that pchannel */
	uint32_t rows;
	const uint8_t *body;
	size_t size;
};

/*
 * A named value that is kept over restarts: of the journal's known catalog (R14), of the target's objects and
 * holds in apply.db ("coll/<source id>", "db/..."). The value is opaque to its store; NULL deletes the key.
 */
struct state_row {
	const char *key;
	const uint8_t *value;
	size_t size;
};

/* A cut and all that commits with it. Pointers as in struct entry. */
struct cut {
	cdc_ts watermark;      /* W: greater than every watermark before */
	int64_t revision;      /* the source catalog's (etcd) revision that the fence saw */
	struct entry *entries; /* ordered; all in (previous W, W] */
	size_t entry_count;
	const struct position *positions; /* of every live pchannel; replaces all before (R11) */
	size_t position_count;
	const struct state_row *state;
	size_t state_count;
};

/* A fast 64-bit hash of bytes for identities (message IDs, guards): stable for ever, no secret. */
uint64_t hash64(uint64_t seed, const void *p, size_t n);
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
