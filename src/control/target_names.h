/* SPDX-License-Identifier: Apache-2.0 */
/* Which names a task writes on its target, and whether two sources can meet on one of them. */
#ifndef CDC_CONTROL_TARGET_NAMES_H
#define CDC_CONTROL_TARGET_NAMES_H

#include <cdc/flow.h>

/*
 * What one task may name: collections selected, excluded and mapped, where one of database "*" counts
 * once for each database that has a name. To compare two tasks of that size takes some 10 ms.
 */
#define TARGET_NAMES_MAX 16384

/*
 * One task: 0, or INVALID: it names too much, or two sources become one, and both are named. Refused are two
 * collections that are named and get one name, and two whole databases that become one. A collection that
 * only a "*" selects may not exist at all: if it does and its name is taken, the sink holds it.
 */
int target_names_check(const struct selection *s, const struct name_map *names, struct err *err);

/* Those of one task; in the arena, borrows from both arguments. INVALID: it names too much. */
struct target_names;
int target_names_of(struct target_names **ret, struct arena *arena, const struct selection *s,
		    const struct name_map *names, struct err *err);
/*
 * Two tasks with one target: a name that both may write, now or later, as text in the arena ("db.name",
 * "db.*"); NULL: there is none.
 */
const char *target_names_meet(struct arena *arena, const struct target_names *a,
			      const struct target_names *b);

#endif
