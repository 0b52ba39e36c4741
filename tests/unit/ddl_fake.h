/* SPDX-License-Identifier: Apache-2.0 */
/* Fixtures of the DDL tests: a kit on an empty fake target, on a collection, on a loaded collection. */
#ifndef DDL_FAKE_H
#define DDL_FAKE_H

#define FAKE_MILVUS
#include "../fake/fake_milvus.c"
#include "ddl_kit.h"

static struct kit kit;

static inline struct kit *fresh(void)
{
	fake_reset();
	kit_init(&kit, milvus_new(NULL, 0, NULL, NULL));
	return &kit;
}

static inline void done_with(struct kit *k)
{
	kit_done(k);
	fake_reset();
}

static inline struct kit *with_collection(const char *db, const char *name)
{
	struct kit *k = fresh();

	CHECKF(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, db, name), true) == 0, "%s",
	       k->err.text);
	return k;
}

static inline struct kit *with_loaded(void)
{
	struct kit *k = with_collection("", "c");

	CHECK(kit_apply(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK(kit_apply(k, KIND_LOAD, KIT_ID, kit_load(k, "", 1), true) == 0);
	buf_reset(&fake.log);
	return k;
}

static inline const char *log_text(void)
{
	return fake.log.len ? (const char *)fake.log.data : "";
}

#endif
