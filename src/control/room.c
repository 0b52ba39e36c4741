/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See room.h. The rate is an average that forgets what is longer ago than some minutes, and that does not
 * begin with minutes of nothing: what was not looked at has no weight.
 */
#include "room.h"

#include <math.h>

#define SAMPLE_MS 5000
#define FORGET_MS 300000.0
#define YEAR_MS (365.0 * 86400e3)

void room_sample(struct room *r, int64_t now_ms, int64_t bytes)
{
	int64_t dt = now_ms - r->at_ms;
	double grown, share;

	if (r->at_ms == 0) {
		r->at_ms = now_ms;
		r->bytes = bytes;
		return;
	}
	if (dt < SAMPLE_MS)
		return;
	grown = bytes > r->bytes ? (double)(bytes - r->bytes) : 0; /* less: old files were removed */
	share = 1 - exp(-(double)dt / FORGET_MS);
	r->sum += (grown / (double)dt - r->sum) * share;
	r->weight += (1 - r->weight) * share;
	r->rate = r->sum / r->weight;
	r->at_ms = now_ms;
	r->bytes = bytes;
}

int64_t room_ms(double rate, int64_t left)
{
	if (left <= 0)
		return 0;
	if (rate <= 0 || (double)left / rate > YEAR_MS)
		return ROOM_UNKNOWN;
	return (int64_t)((double)left / rate);
}
