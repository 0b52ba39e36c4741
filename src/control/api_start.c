/* SPDX-License-Identifier: Apache-2.0 */
/* Where the rows of a create request begin: positions and use_start_position. */
#include <stdio.h>

#include "api_priv.h"

static int refuse_in(struct request *r, const json_t *list, const char *where)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		char at[128];

		snprintf(at, sizeof(at), "%s[%zu]", where, i);
		if (field_is_set(item, "positions"))
			return request_refuse(r, at, "positions",
					      "is not supported by this version: a task starts now");
		if (field_is_set(item, "use_start_position"))
			return request_refuse(r, at, "use_start_position",
					      "is not supported by this version");
	}
	return 0;
}

int parse_start(struct request *r, const struct selection *s, const struct start **ret)
{
	static const char *const refused[] = {"positions", "use_start_position"};
	const char *db;
	json_t *list;
	int rc;

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (field_is_set(r->data, refused[i]))
			return request_refuse(r, "", refused[i], "is not supported by this version");
	if ((rc = refuse_in(r, json_object_get(r->data, "collection_infos"), "collection_infos")) < 0)
		return rc;
	json_object_foreach(json_object_get(r->data, "db_collections"), db, list)
	{
		char where[96];

		snprintf(where, sizeof(where), "db_collections.%.64s", db);
		if ((rc = refuse_in(r, list, where)) < 0)
			return rc;
	}
	*ret = NULL;
	return 0;
}
