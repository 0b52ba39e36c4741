/* SPDX-License-Identifier: Apache-2.0 */
/* The ways of writing to a target, by name. */
#include <cdc/sink.h>

const struct sink_ops *sink_select(const char *name)
{
	static const struct sink_ops *const all[] = {&sink_replicate, &sink_upsert};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (STREQ(all[i]->name, name))
			return all[i];
	return NULL;
}
