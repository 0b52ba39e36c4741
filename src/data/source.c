/* SPDX-License-Identifier: Apache-2.0 */
/* Which queue a configuration names. Another queue is one file and one line here. */
#include "source_kafka.h"

#include <cdc/source.h>

const struct source_ops *source_select(const struct conf_source *conf)
{
	if (conf->kafka.address && *conf->kafka.address)
		return &source_kafka;
	return NULL;
}
