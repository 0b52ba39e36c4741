/* SPDX-License-Identifier: Apache-2.0 */
/* Are two targets the same server, however they are spelled? */
#ifndef CDC_CONTROL_TARGET_ADDRESS_H
#define CDC_CONTROL_TARGET_ADDRESS_H

#include <cdc/sink.h>

/* The addresses of the host as text, each followed by a blank; asks the resolver, may block. TARGET_LOST. */
int target_resolve(const struct target_conf *t, char **ret, struct err *err);
/* resolved: from target_resolve, or "" when not known yet: then the spelling counts. */
bool target_same(const struct target_conf *a, const char *a_resolved, const struct target_conf *b,
		 const char *b_resolved);

#endif
