/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's positions, told by collection and shard. */
#ifndef CDC_DATA_FLOW_POSITIONS_H
#define CDC_DATA_FLOW_POSITIONS_H

#include <cdc/flow.h>
#include <cdc/journal.h>

/* Any thread. Ordered by the collection's ID and its shards; channels of no collection come last. */
size_t positions_by_shard(struct journal *j, struct arena *arena, struct flow_position **ret);

#endif
