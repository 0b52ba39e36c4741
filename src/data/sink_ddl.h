/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DDL entries onto a Milvus target, idempotently: look first, act on the difference, so that a
 * repeat after a crash at any point does the rest and nothing twice (R18). Everything is compared
 * by mapped ID before it is dropped (R25).
 */
#ifndef CDC_DATA_SINK_DDL_H
#define CDC_DATA_SINK_DDL_H

#include "milvus.h"
#include "object_map.h"

struct sink_ddl {
	struct milvus *milvus;   /* borrowed */
	struct object_map *map;  /* borrowed; changed by the calls */
	/* Sends serialized messages to one target pchannel without a tick (drop messages). */
	int (*send)(void *arg, const char *pchannel, const struct pb_bytes *msgs, size_t n, cdc_ts ts, struct err *err);
	void *send_arg;
};

/*
 * Applies one DDL entry (any kind from CREATE_DATABASE to RELEASE) at out_ts. *ret: changed objects
 * to store with the mark ("coll/..."), in the arena. TARGET_SCHEMA: a collection of that name exists
 * with another schema (both described in words); TARGET_REFUSED: the target says no for good.
 * A database or collection that is not mapped (held, or dropped before) makes its later DDL a no-op.
 */
int sink_ddl_apply(struct sink_ddl *d, const struct entry *e, cdc_ts out_ts, struct arena *arena,
		   struct apply_object **ret, size_t *ret_count, struct err *err);

#endif
