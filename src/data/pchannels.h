/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pchannels in use on a target, of our collections and of foreign ones (R26): each of them needs
 * ticks, since one that gets none stalls the target's channel watches and every flush. Looked up from
 * the target now and then; a collection is described once. One thread: the applier's.
 */
#ifndef CDC_DATA_PCHANNELS_H
#define CDC_DATA_PCHANNELS_H

#include "milvus.h"

struct pchannels {
	char **names; /* sorted by arrival: an index never changes */
	size_t count;
	/* private */
	int64_t *seen; /* collection IDs described already */
	size_t seen_count;
	int64_t due_ms;
};

void pchannels_done(struct pchannels *p);
/* Index of the name, added if new. */
size_t pchannels_add(struct pchannels *p, const char *name);
/* Looks at the target if it is due (every 30 s, or after pchannels_stale). Errors as milvus.h. */
int pchannels_refresh(struct pchannels *p, struct milvus *m, struct err *err);
void pchannels_stale(struct pchannels *p);

#endif
