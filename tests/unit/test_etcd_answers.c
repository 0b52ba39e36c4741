/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_read against scripted servers: what is no etcd, and answers that an etcd would not give. */
#include "etcd_kit.h"

#include <cdc/pb.h>

#include "etcd.pb-c.h"

#include <stdatomic.h>
#include <unistd.h>

#define OK_HEADERS ":status: 200\ncontent-type: application/grpc"

/* arg: the message of the answer, or headers of a refusal if it starts with ':' */
struct reply {
	const void *data;
	size_t size;
};

static void replies(int fd, int connection, void *arg)
{
	const struct reply *r = arg;
	uint32_t stream;

	(void)connection;
	if (h2_open(fd))
		while ((stream = h2_request(fd, NULL))) {
			if (r->size && *(const char *)r->data == ':')
				h2_headers(fd, stream, true, r->data);
			else
				h2_answer(fd, stream, r->data, r->size);
		}
}

static void answer_is(const void *data, size_t size, int code, const char *text)
{
	struct reply r = {data, size};
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(replies, &r);
	AUTO_FREE char *address = xasprintf("127.0.0.1:%d", fake_server_port(s));
	AUTO(fixture_free) struct fixture *f = fixture_new(address);

	if (code)
		fails(f, code, text);
	else
		CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
}

TEST(grpc_server_that_is_no_etcd_is_foreign)
{
	static const char milvus[] =
		OK_HEADERS "\ngrpc-status: 12\ngrpc-message: unknown service etcdserverpb.KV";

	answer_is(milvus, sizeof(milvus) - 1, ERR_SOURCE_FOREIGN, "not an etcd");
	answer_is("", 0, ERR_SOURCE_FOREIGN, "is not an etcd's");
	answer_is("\x08\x01", 2, ERR_SOURCE_FOREIGN, "is not an etcd's");
	answer_is("\xff\xff\xff", 3, ERR_SOURCE_FOREIGN, "is not an etcd's");
}

static void http1(int fd, int connection, void *arg)
{
	static const char page[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
	char c[64];

	(void)connection;
	(void)arg;
	if (read(fd, c, sizeof(c)) > 0) {
		fake_write(fd, page, sizeof(page) - 1);
		fake_wait_close(fd);
	}
}

TEST(web_server_is_foreign)
{
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(http1, NULL);
	AUTO_FREE char *address = xasprintf("http://127.0.0.1:%d", fake_server_port(s));
	AUTO(fixture_free) struct fixture *f = fixture_new(address);

	fails(f, ERR_SOURCE_FOREIGN, "not an etcd");
	CHECKF(strstr(f->err.text, "web server"), "%s", f->err.text);
}

/* An answer with one key, made with the generated code. */
static void make_answer_with(struct buf *b, const char *key, size_t key_size)
{
	Etcdpb__ResponseHeader header = ETCDPB__RESPONSE_HEADER__INIT;
	Etcdpb__KeyValue kv = ETCDPB__KEY_VALUE__INIT, *kvs[] = {&kv};
	Etcdpb__RangeResponse range = ETCDPB__RANGE_RESPONSE__INIT;
	Etcdpb__ResponseOp op = ETCDPB__RESPONSE_OP__INIT, *ops[] = {&op};
	Etcdpb__TxnResponse txn = ETCDPB__TXN_RESPONSE__INIT;

	header.cluster_id = 7;
	header.revision = 9;
	kv.key = (ProtobufCBinaryData){key_size, (uint8_t *)(uintptr_t)key};
	kv.value = (ProtobufCBinaryData){2, (uint8_t *)(uintptr_t) "xy"};
	kv.create_revision = 4;
	kv.mod_revision = 5;
	kv.lease = 77;
	range.header = &header;
	range.kvs = kvs;
	range.n_kvs = 1;
	range.count = 1;
	op.response_case = ETCDPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
	op.response_range = &range;
	txn.header = &header;
	txn.succeeded = true;
	txn.responses = ops;
	txn.n_responses = 1;
	buf_reserve(b, etcdpb__txn_response__get_packed_size(&txn));
	b->len = etcdpb__txn_response__pack(&txn, b->data);
}

/* A correct answer to read_one("a/1"). */
static void make_answer(struct buf *b)
{
	make_answer_with(b, "a/1", 3);
}

/* What the range a/1 (prefix: all that begins with it) makes of an answer with this key. */
static void key_is(bool prefix, const char *key, size_t size, int code, size_t count)
{
	AUTO_BUF struct buf b = {0};
	make_answer_with(&b, key, size);
	struct reply r = {b.data, b.len};
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(replies, &r);
	AUTO_FREE char *address = xasprintf("127.0.0.1:%d", fake_server_port(s));
	AUTO(fixture_free) struct fixture *f = fixture_new(address);
	struct etcd_range range = {.key = "a/1", .prefix = prefix};

	read_for(f, &range, 1, 5000);
	CHECKF(f->rc == -code, "'%.*s' %s: %s", (int)size, key, prefix ? "below" : "itself", f->err.text);
	CHECK_INT(range.kv_count, count);
}

TEST(a_key_that_was_not_asked_for_is_refused)
{
	for (int prefix = 0; prefix < 2; prefix++) {
		key_is(prefix, "a/1", 3, 0, 1);
		key_is(prefix, "a", 1, ERR_SOURCE_FOREIGN, 0); /* would be read beyond its end */
		key_is(prefix, "b/1", 3, ERR_SOURCE_FOREIGN, 0);
		key_is(prefix, "a\0/1", 4, ERR_SOURCE_FOREIGN, 0);
		key_is(prefix, "a/12", 4, prefix ? 0 : ERR_SOURCE_FOREIGN, (size_t)prefix);
		key_is(prefix, "a/1\0x", 5, prefix ? 0 : ERR_SOURCE_FOREIGN, 0); /* counts only in total */
	}
}

/* A fake server that answers each call with the next mutation of a good answer. */
struct mutations {
	const struct buf *good;
	atomic_size_t next;
};

static void mutate(int fd, int connection, void *arg)
{
	struct mutations *m = arg;
	uint32_t stream;

	(void)connection;
	if (!h2_open(fd))
		return;
	while ((stream = h2_request(fd, NULL))) {
		AUTO_FREE uint8_t *copy = xmemdup(m->good->data, m->good->len);
		size_t i = atomic_fetch_add(&m->next, 1);

		if (i < m->good->len) {
			h2_answer(fd, stream, copy, i); /* cut */
		} else if (i < 9 * m->good->len) {
			copy[(i - m->good->len) / 8] ^= (uint8_t)(1u << i % 8);
			h2_answer(fd, stream, copy, m->good->len);
		} else {
			h2_answer(fd, stream, copy, m->good->len);
		}
	}
}

TEST(damaged_answers_are_refused_or_sane_and_change_nothing)
{
	AUTO_BUF struct buf good = {0};

	make_answer(&good);
	{
		struct mutations m = {.good = &good};
		AUTO(fake_server_free) struct fake_server *s = fake_server_new(mutate, &m);
		AUTO_FREE char *address = xasprintf("127.0.0.1:%d", fake_server_port(s));
		AUTO(fixture_free) struct fixture *f = fixture_new(address);
		size_t refused = 0;

		for (size_t i = 0; i < 9 * good.len; i++) {
			struct etcd_kv mark;
			struct etcd_range r = {.key = "a/1", .kvs = &mark, .kv_count = 12345};

			f->answer.revision = -5;
			read_for(f, &r, 1, 5000);
			CHECKF(f->rc == 0 || f->rc == -ERR_SOURCE_FOREIGN, "%zu: %s", i, f->err.text);
			CHECK(i >= good.len || i == 0 || f->rc < 0);
			if (f->rc < 0)
				CHECK(r.kvs == &mark && r.kv_count == 12345 && f->answer.revision == -5);
			else
				CHECK(r.kv_count <= 1 &&
				      (r.kv_count == 0 || strlen(r.kvs[0].key) <= good.len));
			refused += f->rc < 0;
			arena_reset(f->arena);
		}
		CHECKF(refused > good.len, "%zu", refused);
		CHECKF(read_one(f, "a/1", 5000) == 0, "%s", f->err.text);
		CHECK(f->answer.cluster_id == 7 && f->answer.revision == 9);
	}
	answer_is(good.data, good.len, 0, "");
	{
		AUTO_BUF struct buf two = {0}; /* ranges, where one was asked for */

		buf_add(&two, good.data, good.len);
		buf_add(&two, good.data, good.len);
		answer_is(two.data, two.len, ERR_SOURCE_FOREIGN, "is not an etcd's");
	}
}

TEST(unusable_token_is_not_sent)
{
	AUTO_BUF struct buf b = {0};

	pb_put_string(&b, 2, "abc\r\nx-evil: 1");
	struct reply r = {b.data, b.len};
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(replies, &r);
	AUTO_FREE char *address = xasprintf("127.0.0.1:%d", fake_server_port(s));
	AUTO(fixture_free) struct fixture *f = fixture_new(address);

	f->conf.enable_auth = true;
	fails(f, ERR_SOURCE_FOREIGN, "no usable token");
	CHECKF(!strstr(f->err.text, "x-evil"), "%s", f->err.text);
}

TEST_MAIN()
