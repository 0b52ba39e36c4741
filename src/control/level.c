/* SPDX-License-Identifier: Apache-2.0 */
/* See level.h. Two marks, far apart, so that a lag between them is not told again and again. */
#include "level.h"

#define BEHIND_MS 30000
#define LEVEL_MS 5000

int64_t level_look(struct level *l, int64_t now_ms, int64_t lag_ms)
{
	int64_t took;

	if (!l->behind_since_ms && lag_ms >= BEHIND_MS)
		l->behind_since_ms = now_ms - lag_ms;
	if (!l->behind_since_ms || lag_ms < 0 || lag_ms >= LEVEL_MS)
		return 0;
	took = now_ms - l->behind_since_ms;
	l->behind_since_ms = 0;
	return took;
}
