/* SPDX-License-Identifier: Apache-2.0 */
/* The part of fake_milvus.c, which includes it, for renames, aliases and properties. */
#ifdef FAKE_MILVUS_PARTS
const char *fake_alias_of(const char *db, const char *alias)
{
	return alias_at(db, alias) ? behind(db, alias)->name : "";
}

const char *fake_property(const struct fake_collection *c, const char *key)
{
	for (size_t i = 0; i < c->request->n_properties; i++)
		if (STREQ(c->request->properties[i]->key, key))
			return c->request->properties[i]->value;
	return NULL;
}

int milvus_alter_collection(struct milvus *m, const char *db, const char *coll, Mv__KeyValuePair **props,
			    size_t n_props, cdc_ts t, struct milvus_status *st, struct err *err)
{
	struct fake_collection *c;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("AlterCollection", st, err)) < 0)
		return unlock(scripted);
	if (n_props == 0)
		return unlock(answer("AlterCollection", 65535, "collection properties is empty", st, err));
	if (!(c = behind(db, coll)))
		return unlock(answer("AlterCollection", 100, "collection not found", st, err));
	c->unsaved = false;
	for (size_t i = 0; i < n_props; i++) {
		const char *before = fake_property(c, props[i]->key);

		c->unsaved |= !before || !STREQ(before, props[i]->value);
		set_pair(&c->request->properties, &c->request->n_properties, props[i]);
	}
	return unlock(done(scripted, "AlterCollection %s.%s", db_name(db), coll));
}

int milvus_remove_properties(struct milvus *m, const char *db, const char *coll, const char *const *keys,
			     size_t n, cdc_ts t, struct milvus_status *st, struct err *err)
{
	struct fake_collection *c;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("AlterCollection", st, err)) < 0)
		return unlock(scripted);
	if (!fake.newer)
		return unlock(answer("AlterCollection", 65535, "collection properties is empty", st, err));
	if (!(c = behind(db, coll)))
		return unlock(answer("AlterCollection", 100, "collection not found", st, err));
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < c->request->n_properties; k++)
			if (STREQ(c->request->properties[k]->key, keys[i])) {
				mv__key_value_pair__free_unpacked(c->request->properties[k], NULL);
				c->request->properties[k] =
					c->request->properties[--c->request->n_properties];
			}
	return unlock(
		done(scripted, "AlterCollection %s.%s without %s", db_name(db), coll, n ? keys[0] : ""));
}

int milvus_alter_database(struct milvus *m, const char *db, Mv__KeyValuePair **props, size_t n_props,
			  cdc_ts t, struct milvus_status *st, struct err *err)
{
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("AlterDatabase", st, err)) < 0)
		return unlock(scripted);
	if (!fake.newer)
		return unlock(answer("AlterDatabase", 0, "unknown method (gRPC status 12)", st, err));
	return unlock(done(scripted, "AlterDatabase %s %s", db_name(db), n_props ? props[0]->key : ""));
}

static bool has_alias(const struct fake_collection *c)
{
	for (size_t i = 0; i < FAKE_ALIASES; i++)
		if (fake.aliases[i].collection_id == c->id)
			return true;
	return false;
}

int milvus_rename_collection(struct milvus *m, const char *db, const char *name, const char *to_db,
			     const char *to_name, cdc_ts t, struct milvus_status *st, struct err *err)
{
	struct fake_collection *c;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("RenameCollection", st, err)) < 0)
		return unlock(scripted);
	if (!fake_has_db(to_db))
		return unlock(answer("RenameCollection", 800, "database not found", st, err));
	if (behind(to_db, to_name))
		return unlock(answer("RenameCollection", 65535,
				     "duplicated new collection name with other collection name or alias", st,
				     err));
	if (!(c = fake_find(db, name)))
		return unlock(answer("RenameCollection", 100, "collection not found", st, err));
	if (!STREQ(db_name(db), db_name(to_db)) && has_alias(c))
		return unlock(
			answer("RenameCollection", 65535, "must drop all aliases before rename", st, err));
	snprintf(c->db, sizeof(c->db), "%s", db_name(to_db));
	snprintf(c->name, sizeof(c->name), "%s", to_name);
	free(c->schema->name);
	c->schema->name = xstrdup(to_name);
	return unlock(
		done(scripted, "RenameCollection %s.%s %s.%s", db_name(db), name, db_name(to_db), to_name));
}

static int put_alias(struct fake_alias *a, const char *rpc, const char *db, const char *coll,
		     const char *alias, int scripted, struct milvus_status *st, struct err *err)
{
	struct fake_collection *c = fake_find(db, coll);

	if (fake_find(db, alias))
		return answer(rpc, 1601, "alias and collection name conflict", st, err);
	if (!c)
		return answer(rpc, 100, "collection not found", st, err);
	a->collection_id = c->id;
	snprintf(a->db, sizeof(a->db), "%s", db_name(db));
	snprintf(a->name, sizeof(a->name), "%s", alias);
	return done(scripted, "%s %s.%s %s", rpc, db_name(db), coll, alias);
}

int milvus_create_alias(struct milvus *m, const char *db, const char *coll, const char *alias, cdc_ts t,
			struct milvus_status *st, struct err *err)
{
	struct fake_alias *a = fake.aliases;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("CreateAlias", st, err)) < 0)
		return unlock(scripted);
	if (alias_at(db, alias) && !STREQ(fake_alias_of(db, alias), coll))
		return unlock(answer("CreateAlias", 1602, "is alias to another collection", st, err));
	if (alias_at(db, alias))
		return unlock(done(scripted, "CreateAlias %s.%s %s", db_name(db), coll, alias));
	while (a->collection_id)
		a++;
	return unlock(put_alias(a, "CreateAlias", db, coll, alias, scripted, st, err));
}

int milvus_alter_alias(struct milvus *m, const char *db, const char *coll, const char *alias, cdc_ts t,
		       struct milvus_status *st, struct err *err)
{
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("AlterAlias", st, err)) < 0)
		return unlock(scripted);
	if (!alias_at(db, alias))
		return unlock(answer("AlterAlias", 1600, "alias not found", st, err));
	return unlock(put_alias(alias_at(db, alias), "AlterAlias", db, coll, alias, scripted, st, err));
}

int milvus_drop_alias(struct milvus *m, const char *db, const char *alias, cdc_ts t, struct milvus_status *st,
		      struct err *err)
{
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("DropAlias", st, err)) < 0)
		return unlock(scripted);
	if (alias_at(db, alias))
		*alias_at(db, alias) = (struct fake_alias){0};
	return unlock(done(scripted, "DropAlias %s.%s", db_name(db), alias));
}
#endif
