/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DDL entries onto a Milvus target, idempotently: look first, act on the difference, so that a
 * repeat after a crash at any point does the rest and nothing twice (R18). Everything is compared
 * by mapped ID before it is dropped (R25).
 *
 * Drops: with ttMsgEnabled: false the target's own Drop RPC leaves its data node consuming the
 * vchannels (and a dropped partition's segments growing) for ever; what ends them is the drop message
 * in each pchannel. Seen on a real 2.3.5: the message works before or after the RPC, with or without a
 * tick between, once or twice, and harms no other collection on the pchannel. So messages go first,
 * then the RPC, and a repeat sends both again.
 *
 * The target refuses to drop a loaded partition, which is released alone, or an index under anything
 * loaded: all is released, and what the map says that the source has loaded is loaded again after the
 * drop (so a repeat after a crash between the two loads it, too).
 *
 * What a target cannot do and no row depends on (properties of databases and indexes, properties taken
 * back, users, roles, privileges) is a note, not an error.
 */
#ifndef CDC_DATA_SINK_DDL_H
#define CDC_DATA_SINK_DDL_H

#include "milvus.h"
#include "object_map.h"

struct sink_ddl {
	struct milvus *milvus;  /* borrowed */
	struct object_map *map; /* borrowed; changed by the calls */
	/*
	 * Names on the target of what is created or renamed; NULL: the source's. Later steps use the
	 * names that the map has stored.
	 */
	const struct name_map *names;
	/*
	 * An ordinary target (R28): rows go by name and primary key. Collections are made with autoID
	 * off, so that IDs are kept; shard counts and field IDs need not be equal, vchannels are not paired.
	 */
	bool plain;
	/* Sends serialized messages to one target pchannel without a tick (drop messages). NULL: none
	 * are sent; an ordinary target ends its consumers by itself. */
	int (*send)(void *arg, const char *pchannel, const struct pb_bytes *msgs, size_t n, cdc_ts ts,
		    struct err *err);
	void *send_arg;
	/* Told in words when an entry was applied otherwise than it says (fewer replicas); may be NULL. */
	void (*note)(void *arg, const char *text);
	void *note_arg;
};

/*
 * Applies one DDL entry (any kind but FLUSH, which does nothing) at out_ts. *ret: changed objects
 * to store with the mark ("coll/..."), in the arena. TARGET_SCHEMA: a collection of that name exists
 * with another schema (both described in words); TARGET_REFUSED: the target says no for good.
 * A database or collection that is not mapped (held, or dropped before) makes its later DDL a no-op.
 */
int sink_ddl_apply(struct sink_ddl *d, const struct entry *e, cdc_ts out_ts, struct arena *arena,
		   struct state_row **ret, size_t *ret_count, struct err *err);

#endif
