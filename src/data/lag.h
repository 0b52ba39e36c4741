/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CDC_DATA_LAG_H
#define CDC_DATA_LAG_H

#include <cdc/model.h>

/*
 * Age of the target's picture of the source, ms; -1: it has none yet. applied: source time up to which the
 * target is complete, 0: none. quiet_ms: when the source was last seen without live collections, if all is
 * applied that was journaled, else 0: then the picture is as new as that look. Pure.
 */
int64_t lag_of(int64_t now_ms, cdc_ts applied, int64_t quiet_ms);

#endif
