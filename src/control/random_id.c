/* SPDX-License-Identifier: Apache-2.0 */
#include "random_id.h"

#include <cdc/log.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void random_id(char ret[33])
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b)) {
		log_event(INTERNAL, "the system has no random numbers");
		abort();
	}
	for (size_t i = 0; i < sizeof(b); i++)
		snprintf(ret + 2 * i, 3, "%02x", b[i]);
}
