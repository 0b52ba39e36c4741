/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flush requests of the source, repeated on the target (R24): advisory, coalesced by collection, sent
 * by a thread of their own since the target answers late; failures are dropped.
 */
#ifndef CDC_DATA_FLUSHER_H
#define CDC_DATA_FLUSHER_H

#include <cdc/sink.h>

struct flusher;
struct flusher *flusher_new(const struct sink_conf *conf);
void flusher_add(struct flusher *f, const char *db, const char *collection); /* any thread */
void flusher_free(struct flusher *f);

#endif
