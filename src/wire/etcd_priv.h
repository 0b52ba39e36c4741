/* SPDX-License-Identifier: Apache-2.0 */
/* One call of any of etcd's services, shared by etcd.c (reads) and etcd_owner.c (the owner's key). */
#ifndef CDC_WIRE_ETCD_PRIV_H
#define CDC_WIRE_ETCD_PRIV_H

#include <cdc/wire.h>

#define ETCD_TXN "/etcdserverpb.KV/Txn"

/* Reads an answer; < 0: it is not an etcd's. It may be called for several endpoints, one after another. */
typedef int etcd_take(void *arg, const struct buf *reply);

/* Empty; the caller packs the request into it and calls etcd_call next. */
struct buf *etcd_request(struct etcd *e);
/* Sends the request to the endpoints in turn until one answers. Errors as etcd_read(). */
int etcd_call(struct etcd *e, const char *method, int deadline_ms, etcd_take *take, void *arg,
	      struct err *err);

#endif
