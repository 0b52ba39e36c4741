/* SPDX-License-Identifier: Apache-2.0 */
/* The version of an etcd, by Maintenance/Status, which asks for no rights. One thread. */
#include <cdc/pb.h>

#include <stdio.h>

#include "etcd_priv.h"

#define STATUS "/etcdserverpb.Maintenance/Status"
#define VERSION_FIELD 2

struct text {
	char *ret;
	size_t n;
};

static int take_version(void *arg, const struct buf *reply)
{
	const struct text *t = arg;
	struct pb_reader r = pb_reader(reply->data, reply->len);
	struct pb_field f;
	bool found = false;
	int rc;

	while ((rc = pb_next(&r, &f)) > 0)
		if (f.number == VERSION_FIELD && f.type == PB_BYTES && f.size < t->n) {
			snprintf(t->ret, t->n, "%.*s", (int)f.size, (const char *)f.data);
			found = true;
		}
	return rc < 0 || !found ? -1 : 0;
}

int etcd_version(struct etcd *e, int deadline_ms, char *ret, size_t n, struct err *err)
{
	struct text t = {ret, n};

	etcd_request(e);
	return etcd_call(e, STATUS, deadline_ms, take_version, &t, err);
}
