/* SPDX-License-Identifier: Apache-2.0 */
/* The part of fake_milvus.c, which includes it, for indexes, load state and flushes. */
#ifdef FAKE_MILVUS_PARTS
/* Into a list that protobuf-c has allocated and frees. */
static void set_pair(Mv__KeyValuePair ***list, size_t *n, const Mv__KeyValuePair *pair)
{
	size_t at = 0;

	while (at < *n && !STREQ((*list)[at]->key, pair->key))
		at++;
	if (at == *n) {
		*list = xrealloc(*list, (*n + 1) * sizeof(**list));
		(*list)[at] = xcalloc(1, sizeof(***list));
		mv__key_value_pair__init((*list)[at]);
		(*list)[at]->key = xstrdup(pair->key);
		(*n)++;
	} else if ((*list)[at]->value != protobuf_c_empty_string) {
		free((*list)[at]->value);
	}
	(*list)[at]->value = xstrdup(pair->value);
}

static void add_index(struct fake_collection *c, const Mv__CreateIndexRequest *req)
{
	struct fake_index *x = &c->indexes[c->index_count++];
	size_t n = mv__create_index_request__get_packed_size(req);
	uint8_t *bytes = xmalloc(n);

	mv__create_index_request__pack(req, bytes);
	x->request = mv__create_index_request__unpack(NULL, n, bytes);
	free(bytes);
	snprintf(x->field, sizeof(x->field), "%s", req->field_name);
	snprintf(x->name, sizeof(x->name), "%s", req->index_name);
}

/* As the server: literally the same or an error; the order of parameters and of JSON counts. */
static bool same_index(const struct fake_index *x, const Mv__CreateIndexRequest *req)
{
	if (!STREQ(x->name, req->index_name) || x->request->n_extra_params != req->n_extra_params)
		return false;
	for (size_t i = 0; i < req->n_extra_params; i++)
		if (!STREQ(x->request->extra_params[i]->key, req->extra_params[i]->key) ||
		    !STREQ(x->request->extra_params[i]->value, req->extra_params[i]->value))
			return false;
	return true;
}

int milvus_create_index(struct milvus *m, const char *db, const char *coll, const char *field,
			const char *index, Mv__KeyValuePair **params, size_t n_params, cdc_ts t,
			struct milvus_status *st, struct err *err)
{
	Mv__CreateIndexRequest req = MV__CREATE_INDEX_REQUEST__INIT;
	struct fake_collection *c;
	bool there = false;
	int scripted;

	(void)m;
	(void)t;
	req.field_name = (char *)field;
	req.index_name = (char *)index;
	req.extra_params = params;
	req.n_extra_params = n_params;
	lock();
	if ((scripted = begin("CreateIndex", st, err)) < 0)
		return unlock(scripted);
	if (!(c = fake_find(db, coll)))
		return unlock(answer("CreateIndex", 100, "collection not found", st, err));
	for (size_t i = 0; i < c->index_count; i++) {
		if (!STREQ(c->indexes[i].field, field) && !STREQ(c->indexes[i].name, index))
			continue;
		if (!STREQ(c->indexes[i].field, field) || !same_index(&c->indexes[i], &req))
			return unlock(answer("CreateIndex", 65535,
					     "at most one distinct index is allowed per field", st, err));
		there = true;
	}
	if (!there)
		add_index(c, &req);
	return unlock(done(scripted, "CreateIndex %s.%s.%s.%s", db_name(db), coll, field, index));
}

int milvus_drop_index(struct milvus *m, const char *db, const char *coll, const char *field,
		      const char *index, cdc_ts t, struct milvus_status *st, struct err *err)
{
	struct fake_collection *c;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("DropIndex", st, err)) < 0)
		return unlock(scripted);
	if (!(c = fake_find(db, coll)))
		return unlock(answer("DropIndex", 100, "collection not found", st, err));
	if (c->load_state > 1)
		return unlock(answer("DropIndex", 65535, "collection is loaded, release it first", st, err));
	for (size_t i = 0; i < c->index_count; i++)
		if (STREQ(c->indexes[i].name, index)) {
			mv__create_index_request__free_unpacked(c->indexes[i].request, NULL);
			c->indexes[i] = c->indexes[--c->index_count];
		}
	return unlock(done(scripted, "DropIndex %s.%s.%s.%s", db_name(db), coll, field, index));
}

int milvus_describe_index(struct milvus *m, const char *db, const char *coll, struct arena *arena,
			  Mv__DescribeIndexResponse **ret, struct err *err)
{
	Mv__DescribeIndexResponse r = MV__DESCRIBE_INDEX_RESPONSE__INIT;
	Mv__IndexDescription items[FAKE_INDEXES], *list[FAKE_INDEXES];
	struct fake_collection *c;

	(void)m;
	lock();
	if (begin("DescribeIndex", NULL, err))
		return unlock(-fake.fail_rc);
	c = fake_find(db, coll);
	for (size_t i = 0; c && i < c->index_count; i++) {
		mv__index_description__init(&items[i]);
		items[i].index_name = c->indexes[i].name;
		items[i].field_name = c->indexes[i].field;
		items[i].params = c->indexes[i].request->extra_params;
		items[i].n_params = c->indexes[i].request->n_extra_params;
		list[i] = &items[i];
	}
	r.index_descriptions = list;
	r.n_index_descriptions = c ? c->index_count : 0;
	*ret = travel(&r.base, arena);
	return unlock(0);
}

static bool vectors_indexed(const struct fake_collection *c)
{
	for (size_t i = 0; i < c->schema->n_fields; i++) {
		bool found = c->schema->fields[i]->data_type < 100;

		for (size_t k = 0; k < c->index_count; k++)
			found = found || STREQ(c->indexes[k].field, c->schema->fields[i]->name);
		if (!found)
			return false;
	}
	return true;
}

static int check_load(struct fake_collection *c, const char *rpc, int replicas, struct milvus_status *st,
		      struct err *err)
{
	if (!c)
		return answer(rpc, 100, "collection not found", st, err);
	if (!vectors_indexed(c))
		return answer(rpc, 700, "index not found", st, err);
	if (c->load_state > 1 && c->replicas != replicas)
		return answer(rpc, 1100, "can't change the replica number", st, err);
	if (replicas > fake.nodes)
		return answer(rpc, 65535, "nodes not enough", st, err);
	return 0;
}

int milvus_load(struct milvus *m, const char *db, const char *coll, int replicas, cdc_ts t,
		struct milvus_status *st, struct err *err)
{
	struct fake_collection *c;
	int scripted, rc;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("LoadCollection", st, err)) < 0)
		return unlock(scripted);
	c = fake_find(db, coll);
	if ((rc = check_load(c, "LoadCollection", replicas, st, err)) < 0)
		return unlock(rc);
	c->load_state = 3;
	c->replicas = replicas;
	c->by_partitions = false;
	memset(c->released, 0, sizeof(c->released));
	return unlock(done(scripted, "LoadCollection %s.%s", db_name(db), coll));
}

int milvus_release(struct milvus *m, const char *db, const char *coll, cdc_ts t, struct milvus_status *st,
		   struct err *err)
{
	struct fake_collection *c;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("ReleaseCollection", st, err)) < 0)
		return unlock(scripted);
	if (!(c = fake_find(db, coll)))
		return unlock(answer("ReleaseCollection", 100, "collection not found", st, err));
	c->load_state = 1;
	return unlock(done(scripted, "ReleaseCollection %s.%s", db_name(db), coll));
}

bool fake_partition_loaded(const struct fake_collection *c, const char *name)
{
	size_t at;

	return c->load_state > 1 && partition_of(c, name, &at) && !c->released[at];
}

int milvus_load_partitions(struct milvus *m, const char *db, const char *coll, const char *const *parts,
			   size_t n, int replicas, cdc_ts t, struct milvus_status *st, struct err *err)
{
	struct fake_collection *c;
	size_t at;
	int scripted, rc;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("LoadPartitions", st, err)) < 0)
		return unlock(scripted);
	c = fake_find(db, coll);
	if ((rc = check_load(c, "LoadPartitions", replicas, st, err)) < 0)
		return unlock(rc);
	for (size_t i = 0; i < n; i++)
		if (!partition_of(c, parts[i], &at))
			return unlock(answer("LoadPartitions", 200, "partition not found", st, err));
	if (c->load_state == 1) {
		c->by_partitions = true;
		memset(c->released, 1, sizeof(c->released));
	}
	for (size_t i = 0; i < n; i++)
		if (partition_of(c, parts[i], &at))
			c->released[at] = false;
	c->load_state = 3;
	c->replicas = replicas;
	return unlock(done(scripted, "LoadPartitions %s.%s.%s", db_name(db), coll, n ? parts[0] : ""));
}

int milvus_release_partitions(struct milvus *m, const char *db, const char *coll, const char *const *parts,
			      size_t n, cdc_ts t, struct milvus_status *st, struct err *err)
{
	struct fake_collection *c;
	bool any = false;
	size_t at;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("ReleasePartitions", st, err)) < 0)
		return unlock(scripted);
	if (!(c = fake_find(db, coll)))
		return unlock(answer("ReleasePartitions", 100, "collection not found", st, err));
	for (size_t i = 0; i < n; i++)
		if (!partition_of(c, parts[i], &at))
			return unlock(answer("ReleasePartitions", 200, "partition not found", st, err));
	for (size_t i = 0; i < n; i++)
		if (partition_of(c, parts[i], &at))
			c->released[at] = true;
	for (size_t i = 0; i < c->partition_count; i++)
		any = any || !c->released[i];
	if (!any)
		c->load_state = 1;
	return unlock(done(scripted, "ReleasePartitions %s.%s.%s", db_name(db), coll, n ? parts[0] : ""));
}

int milvus_load_state(struct milvus *m, const char *db, const char *coll, const char *const *parts, size_t n,
		      int *ret, struct err *err)
{
	struct fake_collection *c;
	size_t at;
	int state;

	(void)m;
	lock();
	if (begin("GetLoadState", NULL, err))
		return unlock(-fake.fail_rc);
	c = fake_find(db, coll);
	state = c ? c->load_state : 0;
	for (size_t i = 0; state && i < n; i++) {
		if (!partition_of(c, parts[i], &at))
			state = 0;
		else if (!fake_partition_loaded(c, parts[i]))
			state = 1;
	}
	*ret = state;
	return unlock(0);
}

int milvus_alter_index(struct milvus *m, const char *db, const char *coll, const char *index,
		       Mv__KeyValuePair **params, size_t n_params, cdc_ts t, struct milvus_status *st,
		       struct err *err)
{
	struct fake_collection *c;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("AlterIndex", st, err)) < 0)
		return unlock(scripted);
	if (!fake.newer)
		return unlock(answer("AlterIndex", 0, "Marshal called with nil (gRPC status 13)", st, err));
	if (!(c = fake_find(db, coll)))
		return unlock(answer("AlterIndex", 100, "collection not found", st, err));
	for (size_t i = 0; i < c->index_count; i++)
		for (size_t k = 0; k < n_params && STREQ(c->indexes[i].name, index); k++)
			set_pair(&c->indexes[i].request->extra_params, &c->indexes[i].request->n_extra_params,
				 params[k]);
	return unlock(done(scripted, "AlterIndex %s.%s.%s", db_name(db), coll, index));
}

int milvus_flush(struct milvus *m, const char *db, const char *const *colls, size_t n,
		 struct milvus_status *st, struct err *err)
{
	int scripted;

	(void)m;
	lock();
	if ((scripted = begin("Flush", st, err)) < 0)
		return unlock(scripted);
	for (size_t i = 0; i < n; i++)
		if (!fake_find(db, colls[i]))
			return unlock(answer("Flush", 100, "collection not found", st, err));
	return unlock(done(scripted, "Flush %s.%s", db_name(db), n ? colls[0] : ""));
}
#endif
