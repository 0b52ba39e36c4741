/* SPDX-License-Identifier: Apache-2.0 */
#include "lag.h"

int64_t lag_of(int64_t now_ms, cdc_ts applied, int64_t quiet_ms)
{
	int64_t at = ts_ms(applied) > quiet_ms ? ts_ms(applied) : quiet_ms;

	if (!at)
		return -1;
	return now_ms > at ? now_ms - at : 0;
}
