/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a task that was far behind its source is level with it again: told once for each time it was behind.
 * Pure; the caller serializes.
 */
#ifndef CDC_CONTROL_LEVEL_H
#define CDC_CONTROL_LEVEL_H

#include <stdint.h>

struct level {
	int64_t behind_since_ms; /* 0: level */
};
/* Takes a look at the lag (-1: not known). > 0: level again, after having been behind for so many ms. */
int64_t level_look(struct level *l, int64_t now_ms, int64_t lag_ms);

#endif
