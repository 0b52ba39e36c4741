/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a journal grows, and for how long there is room for it. What is removed does not count: the
 * answer is how long reading could go on if the target went away now. Pure; the caller serializes.
 */
#ifndef CDC_CONTROL_ROOM_H
#define CDC_CONTROL_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#define ROOM_UNKNOWN (-1)

struct room {
	int64_t at_ms, bytes; /* of the last sample; at_ms 0: none yet */
	double rate;          /* bytes a ms, over the last minutes, or since the first look */
	double sum, weight;   /* rate is sum / weight; weight goes to 1 */
};
/* Takes a look at the journal's size; looks that come too soon after another one are left out. */
void room_sample(struct room *r, int64_t now_ms, int64_t bytes);
/* Milliseconds until left bytes are used up at that rate; ROOM_UNKNOWN: it does not grow to speak of. */
int64_t room_ms(double rate, int64_t left);

#endif
