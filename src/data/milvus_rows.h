/* SPDX-License-Identifier: Apache-2.0 */
/* The RPCs by which an ordinary target takes rows; as in milvus.h, one attempt each. */
#ifndef CDC_DATA_MILVUS_ROWS_H
#define CDC_DATA_MILVUS_ROWS_H

#include "milvus.h"
#include "upsert.h"

/* Upsert or Delete. Both may be repeated: the rows are the same afterwards. Errors as milvus.h. */
int milvus_change_rows(struct milvus *m, const struct upsert_request *r, struct milvus_status *st,
		       struct err *err);

#endif
