/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source bytes -> record. The wire format is walked once over the top level of the message; row
 * data (fields_data, row_data, primary keys) is stepped over, never looked into, so the cost does
 * not depend on the size of the rows. Pure: no I/O, no allocation, safe on any bytes and threads.
 *
 * What a later stage could only lose in silence is refused here: rows, drops and ticks without the
 * timestamp or IDs by which they are ordered and routed.
 */
#include "decode.h"

#include <cdc/pb.h>

#include <inttypes.h>
#include <string.h>

#define VCHANNEL_LIMIT 512 /* a topic name (249) and "_<collection>v<shard>" are well below it */

/* Numbers of the common.MsgType enum. */
enum {
	MSG_CREATE_COLLECTION = 100,
	MSG_DROP_COLLECTION = 101,
	MSG_LOAD_COLLECTION = 106,
	MSG_RELEASE_COLLECTION = 107,
	MSG_CREATE_PARTITION = 200,
	MSG_DROP_PARTITION = 201,
	MSG_CREATE_INDEX = 300,
	MSG_DROP_INDEX = 302,
	MSG_INSERT = 400,
	MSG_DELETE = 401,
	MSG_FLUSH = 402,
	MSG_IMPORT = 408,
	MSG_TIME_TICK = 1200,
	MSG_CREATE_DATABASE = 1801,
	MSG_DROP_DATABASE = 1802,
};

/* Where each type keeps what a record needs; 0: the type has no such field. base is field 1 always. */
struct layout {
	int32_t type;
	enum kind kind;
	uint8_t vchannel, collection, partition, timestamps, rows;
};
static const struct layout layouts[] = {
	{MSG_INSERT, KIND_INSERT, 2, 7, 8, 10, 14},
	{MSG_DELETE, KIND_DELETE, 2, 7, 8, 10, 11},
	{MSG_TIME_TICK, KIND_TICK, 0, 0, 0, 0, 0},
	{MSG_CREATE_COLLECTION, KIND_CREATE_COLLECTION, 0, 6, 0, 0, 0},
	{MSG_DROP_COLLECTION, KIND_DROP_COLLECTION, 0, 5, 0, 0, 0},
	{MSG_CREATE_PARTITION, KIND_CREATE_PARTITION, 0, 6, 7, 0, 0},
	{MSG_DROP_PARTITION, KIND_DROP_PARTITION, 0, 6, 7, 0, 0},
	{MSG_CREATE_INDEX, KIND_CREATE_INDEX, 0, 0, 0, 0, 0},
	{MSG_DROP_INDEX, KIND_DROP_INDEX, 0, 0, 0, 0, 0},
	{MSG_LOAD_COLLECTION, KIND_LOAD, 0, 0, 0, 0, 0},
	{MSG_RELEASE_COLLECTION, KIND_RELEASE, 0, 0, 0, 0, 0},
	{MSG_FLUSH, KIND_FLUSH, 0, 0, 0, 0, 0},
	{MSG_IMPORT, KIND_IMPORT, 0, 4, 0, 0, 0},
	{MSG_CREATE_DATABASE, KIND_CREATE_DATABASE, 0, 0, 0, 0, 0},
	{MSG_DROP_DATABASE, KIND_DROP_DATABASE, 0, 0, 0, 0, 0},
};
static const struct layout layout_other = {0, KIND_OTHER, 0, 0, 0, 0, 0};

static const struct layout *layout_of(int32_t type)
{
	for (size_t i = 0; i < ARRAY_LEN(layouts); i++)
		if (layouts[i].type == type)
			return &layouts[i];
	return &layout_other;
}

struct base {
	bool found;
	int32_t type;
	uint64_t msg_id;
	cdc_ts ts;
	bool replicated;
};

static int read_replicate_info(const struct pb_field *info, struct base *b)
{
	struct pb_reader r = pb_reader(info->data, info->size);
	struct pb_field f;
	int rc;

	while ((rc = pb_next(&r, &f)) > 0)
		if (f.number == 1 && f.type == PB_VARINT)
			b->replicated = f.value != 0;
	return rc;
}

/* As protobuf has it: a base that comes in several pieces is merged, the last value wins. */
static int read_base(const struct pb_field *base, struct base *b)
{
	struct pb_reader r = pb_reader(base->data, base->size);
	struct pb_field f;
	int rc;

	b->found = true;
	while ((rc = pb_next(&r, &f)) > 0) {
		if (f.number == 1 && f.type == PB_VARINT)
			b->type = (int32_t)f.value;
		else if (f.number == 2 && f.type == PB_VARINT)
			b->msg_id = f.value;
		else if (f.number == 3 && f.type == PB_VARINT)
			b->ts = f.value;
		else if (f.number == 7 && f.type == PB_BYTES && read_replicate_info(&f, b) < 0)
			return -1;
	}
	return rc;
}

/* Checks that all of the message is protobuf, and finds its base. */
static int find_base(const uint8_t *body, size_t n, struct base *ret, struct err *err)
{
	struct pb_reader r = pb_reader(body, n);
	struct pb_field f;
	struct base b = {0};
	int rc;

	while ((rc = pb_next(&r, &f)) > 0)
		if (f.number == 1 && f.type == PB_BYTES && read_base(&f, &b) < 0)
			return err_set(err, ERR_SOURCE_FORMAT,
				       "message of %zu bytes is not a Milvus message: its base is damaged",
				       n);
	if (rc < 0)
		return err_set(err, ERR_SOURCE_FORMAT,
			       "message of %zu bytes is not protobuf: damaged at byte %zu", n,
			       (size_t)(f.raw - body));
	if (!b.found)
		return err_set(err, ERR_SOURCE_FORMAT,
			       "message of %zu bytes is not a Milvus message: no base", n);
	*ret = b;
	return 0;
}

/* The greatest of timestamps[], which may come packed or one by one. */
static int greatest_ts(const struct pb_field *f, cdc_ts *ts)
{
	struct pb_reader r = pb_reader(f->data, f->size);
	uint64_t v;
	int rc;

	if (f->type == PB_VARINT) {
		*ts = f->value > *ts ? f->value : *ts;
		return 0;
	}
	if (f->type != PB_BYTES)
		return 0; /* to protobuf an unknown field */
	while ((rc = pb_next_varint(&r, &v)) > 0)
		*ts = v > *ts ? v : *ts;
	return rc;
}

/* The fields that `at` places, into *r. The message is known to be protobuf. */
static int read_fields(const struct layout *at, const uint8_t *body, size_t n, struct record *r,
		       struct err *err)
{
	struct pb_reader reader = pb_reader(body, n);
	struct pb_field f;

	while (pb_next(&reader, &f) > 0) {
		if (f.number == at->timestamps && greatest_ts(&f, &r->ts) < 0)
			return err_set(err, ERR_SOURCE_FORMAT, "%s message with damaged timestamps",
				       kind_name(at->kind));
		if (f.type == PB_BYTES && f.number == at->vchannel) {
			r->vchannel = (const char *)f.data;
			r->vchannel_len = f.size;
		}
		if (f.type != PB_VARINT)
			continue;
		if (f.number == at->collection)
			r->collection_id = (int64_t)f.value;
		else if (f.number == at->partition)
			r->partition_id = (int64_t)f.value;
		else if (f.number == at->rows && f.value > UINT32_MAX)
			return err_set(err, ERR_SOURCE_FORMAT, "%s message claims %" PRIu64 " rows",
				       kind_name(at->kind), f.value);
		else if (f.number == at->rows)
			r->rows = (uint32_t)f.value;
	}
	return 0;
}

/* What is missing for ordering and routing the message, in words; NULL: nothing. */
static const char *missing(const struct layout *at, const struct record *r)
{
	switch (at->kind) {
	case KIND_INSERT:
	case KIND_DELETE:
		if (r->vchannel_len == 0)
			return "no vchannel";
		if (r->vchannel_len > VCHANNEL_LIMIT || memchr(r->vchannel, 0, r->vchannel_len))
			return "an impossible vchannel";
		if (r->ts == 0)
			return "no timestamps";
		return r->collection_id ? NULL : "no collection ID";
	case KIND_TICK:
		return r->ts ? NULL : "no timestamp";
	case KIND_DROP_PARTITION:
		if (r->partition_id == 0)
			return "no partition ID";
		/* fallthrough */
	case KIND_DROP_COLLECTION:
		if (r->collection_id == 0)
			return "no collection ID";
		return r->ts ? NULL : "no timestamp";
	default: /* advisory or unused: nothing depends on it */
		return NULL;
	}
}

int decode_record(struct record *ret, const uint8_t *body, size_t n, struct err *err)
{
	const struct layout *at;
	const char *lack;
	struct base base;
	struct record r = {0};
	int rc;

	if ((rc = find_base(body, n, &base, err)) < 0)
		return rc;
	at = layout_of(base.type);
	if (!at->timestamps)
		r.ts = base.ts;
	if ((rc = read_fields(at, body, n, &r, err)) < 0)
		return rc;
	lack = missing(at, &r);
	if (lack)
		return err_set(err, ERR_SOURCE_FORMAT, "%s message with %s", kind_name(at->kind), lack);
	ret->kind = at->kind;
	ret->ts = r.ts;
	ret->collection_id = r.collection_id;
	ret->partition_id = r.partition_id;
	ret->vchannel = r.vchannel;
	ret->vchannel_len = r.vchannel_len;
	ret->msg_id = base.msg_id;
	ret->rows = r.rows;
	ret->body = body;
	ret->size = n;
	return 0;
}

int decode_flush(const uint8_t *body, size_t n, struct decode_flush *ret, struct err *err)
{
	struct pb_reader r = pb_reader(body, n);
	struct decode_flush flush = {.db = ""};
	struct pb_field f;
	struct base base;
	int rc;

	if ((rc = find_base(body, n, &base, err)) < 0)
		return rc;
	if (base.type != MSG_FLUSH)
		return err_set(err, ERR_SOURCE_FORMAT, "message of type %d where a flush is expected",
			       base.type);
	while (pb_next(&r, &f) > 0) {
		if (f.type != PB_BYTES)
			continue;
		if (f.number == 2) {
			flush.db = (const char *)f.data;
			flush.db_len = f.size;
		} else if (f.number == 3 && flush.count < ARRAY_LEN(flush.collections)) {
			flush.collections[flush.count].name = (const char *)f.data;
			flush.collections[flush.count++].len = f.size;
		}
	}
	*ret = flush;
	return 0;
}

int64_t decode_import_job(const uint8_t *body, size_t n)
{
	struct pb_reader r = pb_reader(body, n);
	struct pb_field f;

	while (pb_next(&r, &f) > 0)
		if (f.number == 9 && f.type == PB_VARINT)
			return (int64_t)f.value;
	return 0;
}

bool decode_is_replicated(const uint8_t *body, size_t n)
{
	struct base base;

	return find_base(body, n, &base, NULL) == 0 && base.replicated;
}
