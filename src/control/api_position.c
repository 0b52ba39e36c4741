/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The position request: how far the source's log is read (positions, op_positions) and up to which time
 * the target is complete (target_positions), as the peer tells it: lists, or null when there is nothing. What
 * we add to an entry is its collection's name and vchannel, so that a create request can take
 * {vchannel: msg_id} as it is.
 */
#include <cdc/pb.h>

#include <openssl/evp.h>
#include <stdlib.h>

#include "api_priv.h"

#define OPERATIONS (-10) /* what the peer calls the collection of the replicate topic */

/* The peer's msg_id: base64 of a MsgPosition (channel 1, id 2, timestamp 4); id: offset, little-endian. */
static json_t *msg_id(const struct flow_position *p)
{
	AUTO_BUF struct buf b = {0};
	uint8_t offset[8];
	json_t *ret;
	char *text;

	for (int i = 0; i < 8; i++)
		offset[i] = (uint8_t)((uint64_t)p->id >> (8 * i));
	pb_put_string(&b, 1, p->pchannel);
	pb_put_bytes(&b, 2, offset, sizeof(offset));
	pb_put_uint(&b, 4, p->ts);
	text = xmalloc(4 * ((b.len + 2) / 3) + 1);
	EVP_EncodeBlock((unsigned char *)text, b.data, (int)b.len);
	ret = json_string(text);
	free(text);
	return ret;
}

static json_t *position_json(const struct flow_position *p, int64_t collection_id, uint64_t ts)
{
	json_t *o = json_object();

	json_object_set_new(o, "collection_id", json_integer(collection_id));
	json_object_set_new(o, "channel_name", json_text(p->pchannel));
	json_object_set_new(o, "time", json_integer(ts_ms(ts)));
	json_object_set_new(o, "tt", json_integer(ts > INT64_MAX ? INT64_MAX : (int64_t)ts));
	if (*p->vchannel) {
		json_object_set_new(o, "vchannel", json_text(p->vchannel));
		json_object_set_new(o, "db_name", json_text(p->db));
		json_object_set_new(o, "collection_name", json_text(p->collection));
	}
	return o;
}

/* The peer's null for an empty list. */
static void answer(struct request *r, const char *key, json_t *list)
{
	json_object_set_new(r->answer, key, json_array_size(list) ? json_incref(list) : json_null());
	json_decref(list);
}

int request_position(struct request *r)
{
	json_t *positions, *ops, *targets;
	struct flow_position *list = NULL;
	uint64_t applied_ts = 0;
	const char *id;
	int n;

	if ((n = request_id(r, NULL, &id)) < 0 ||
	    (n = tasks_positions(r->tasks, id, r->arena, &list, &applied_ts, r->err)) < 0)
		return n;
	positions = json_array();
	ops = json_array();
	targets = json_array();
	for (int i = 0; i < n; i++) {
		const struct flow_position *p = &list[i];
		bool op = STREQ(p->pchannel, r->conf->source.replicate_chan);
		json_t *o = position_json(p, op ? OPERATIONS : p->collection_id, p->ts);

		json_object_set_new(o, "msg_id", msg_id(p));
		json_array_append_new(op ? ops : positions, o);
		if (!op)
			json_array_append_new(targets, position_json(p, p->collection_id, applied_ts));
	}
	answer(r, "positions", positions);
	answer(r, "op_positions", ops);
	answer(r, "target_positions", targets);
	return 0;
}
