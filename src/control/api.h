/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP API: POST /cdc (tasks), GET /healthz, GET /metrics. One thread a connection, at most 64;
 * a body is at most 1 MiB. No authentication: it belongs on a loopback address. The HTTP status
 * equals the answer's `code`. Credentials come in and never go out.
 */
#ifndef CDC_CONTROL_API_H
#define CDC_CONTROL_API_H

#include <cdc/task.h>

struct api;
/* Listens on conf->address (port 0: any). CONFIG: the address cannot be used. conf, ts: borrowed. */
int api_open(struct api **ret, const struct conf *conf, struct tasks *ts, struct err *err);
int api_port(const struct api *a);
/* Closes all connections and waits for their threads; NULL is fine. */
void api_close(struct api *a);
DEFINE_AUTO(struct api, api_close)

#endif
