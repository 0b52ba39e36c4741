/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The create request: from JSON to a target, a selection and what get and list will show. Nothing
 * is asked of anyone here; tasks_create does that. Credentials go into target_conf only.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "api_priv.h"

#define TEXT_MAX 1024
#define SECRET_MAX 4096
#define ITEMS_MAX 4096
#define CONNECT_TIMEOUT_S 10
#define CONNECT_TIMEOUT_MAX_S 300
#define TARGET "milvus_connect_param"

static char *text_or_null(const char *s)
{
	return s && *s ? xstrdup(s) : NULL;
}

static void set_text(char **slot, const char *s)
{
	free(*slot);
	*slot = text_or_null(s);
}

/* ---- milvus_connect_param ---- */

/* "[http[s]://]host[:port][/]". The value may hold credentials, so no message repeats it. */
static int parse_uri(struct request *r, const char *uri, struct target_conf *t)
{
	const char *rest = strstr(uri, "://");
	AUTO_FREE char *copy = NULL;
	size_t n;

	if (rest && strncasecmp(uri, "http://", 7) != 0 && strncasecmp(uri, "https://", 8) != 0)
		return request_refuse(r, TARGET, "uri", "only http:// and https:// are known");
	if (rest && strncasecmp(uri, "https", 5) == 0)
		t->tls.enable = true;
	rest = rest ? rest + 3 : uri;
	if (strchr(rest, '@'))
		return request_refuse(r, TARGET, "uri", "must not hold credentials: use token");
	n = strlen(rest);
	if (n && rest[n - 1] == '/')
		n--;
	copy = xasprintf("%.*s", (int)n, rest);
	if (strpbrk(copy, "/?#"))
		return request_refuse(r, TARGET, "uri",
				      "must end after the port: a database or path is not supported");
	if (*copy && (*copy == '[' ? copy[n - 1] == ']' : !strchr(copy, ':'))) {
		AUTO_FREE char *bare = TAKE(copy);

		copy = xasprintf("%s:%d", bare, rest != uri && t->tls.enable ? 443 : 19530);
	}
	if (!conf_host_port(copy, &t->host, &t->port) || t->port == 0)
		return request_refuse(r, TARGET, "uri", "must be http[s]://host:port");
	return 0;
}

static int parse_address(struct request *r, const json_t *obj, struct target_conf *t)
{
	const char *uri = "", *host = "";
	int64_t port = 0;
	int rc;

	if ((rc = field_bool(r, obj, TARGET, "enable_tls", &t->tls.enable)) < 0 ||
	    (rc = field_string(r, obj, TARGET, "uri", TEXT_MAX, &uri)) < 0 ||
	    (rc = field_string(r, obj, TARGET, "host", 253, &host)) < 0 ||
	    (rc = field_int(r, obj, TARGET, "port", *uri ? 0 : 1, 65535, &port)) < 0)
		return rc;
	if (*uri) {
		if (*host || port)
			request_warn(r, TARGET ".host, port: ignored, uri is given");
		return parse_uri(r, uri, t);
	}
	if (!*host)
		return request_refuse(r, TARGET, port ? "host" : "uri", "is missing or empty");
	if (!port)
		return request_refuse(r, TARGET, "port", "is missing");
	for (const char *p = host; *p; p++)
		if (isspace((unsigned char)*p) || !isprint((unsigned char)*p) || strchr("/@?#,[]", *p))
			return request_refuse(r, TARGET, "host", "is no host name and no address");
	t->host = xstrdup(host);
	t->port = (int)port;
	return 0;
}

static int parse_credentials(struct request *r, const json_t *obj, struct target_conf *t)
{
	const char *token = "", *user = "", *password = "";
	int rc;

	if ((rc = field_string(r, obj, TARGET, "token", SECRET_MAX, &token)) < 0 ||
	    (rc = field_string(r, obj, TARGET, "username", TEXT_MAX, &user)) < 0 ||
	    (rc = field_string(r, obj, TARGET, "password", SECRET_MAX, &password)) < 0)
		return rc;
	if (*token) {
		if (*user || *password)
			request_warn(r, TARGET ".username, password: ignored, token is given");
		t->authorization = xstrdup(token);
		return 0;
	}
	if (!*user != !*password)
		return request_refuse(r, TARGET, *user ? "password" : "username",
				      "is missing: username and password go together");
	if (strchr(user, ':'))
		return request_refuse(r, TARGET, "username", "must not have a colon in it");
	if (*user)
		t->authorization = xasprintf("%s:%s", user, password);
	return 0;
}

static int parse_dial_config(struct request *r, const json_t *obj, struct target_conf *t)
{
	static const char *const known[] = {"server_name",     "server_pem_path", "ca_pem_path",
					    "client_pem_path", "client_key_path", NULL};
	static const char where[] = TARGET ".dial_config";
	const char *name = "", *server = "", *ca = "", *cert = "", *key = "";
	json_t *dial = NULL;
	int rc;

	if ((rc = field_object(r, obj, TARGET, "dial_config", &dial)) <= 0)
		return rc;
	if ((rc = field_string(r, dial, where, "server_name", 253, &name)) < 0 ||
	    (rc = field_string(r, dial, where, "server_pem_path", TEXT_MAX, &server)) < 0 ||
	    (rc = field_string(r, dial, where, "ca_pem_path", TEXT_MAX, &ca)) < 0 ||
	    (rc = field_string(r, dial, where, "client_pem_path", TEXT_MAX, &cert)) < 0 ||
	    (rc = field_string(r, dial, where, "client_key_path", TEXT_MAX, &key)) < 0)
		return rc;
	field_warn_unknown(r, dial, where, known);
	if (!*cert != !*key)
		return request_refuse(r, where, *cert ? "client_key_path" : "client_pem_path",
				      "is missing: certificate and key go together");
	if (*ca && *server)
		request_warn(r, "%s.server_pem_path: ignored, ca_pem_path is given", where);
	if (!t->tls.enable && (*ca || *server || *cert))
		request_warn(r, "%s: has no effect without enable_tls or https", where);
	set_text(&t->tls.server_name, name);
	set_text(&t->tls.ca_path, *ca ? ca : server);
	set_text(&t->tls.cert_path, cert);
	set_text(&t->tls.key_path, key);
	return 0;
}

static int parse_target(struct request *r, struct target_conf *t)
{
	static const char *const known[] = {"host",
					    "port",
					    "username",
					    "password",
					    "enable_tls",
					    "uri",
					    "token",
					    "connect_timeout",
					    "dial_config",
					    "channel_num",
					    "ignore_partition",
					    NULL};
	int64_t timeout = 0, channels = 0;
	bool ignore = false;
	json_t *obj = NULL;
	int rc;

	if ((rc = field_object(r, r->data, "", TARGET, &obj)) < 0)
		return rc;
	if (!obj || !json_object_size(obj))
		return request_refuse(r, "", TARGET, "is missing or empty");
	if ((rc = parse_address(r, obj, t)) < 0 || (rc = parse_credentials(r, obj, t)) < 0 ||
	    (rc = parse_dial_config(r, obj, t)) < 0 ||
	    (rc = field_int(r, obj, TARGET, "connect_timeout", 0, CONNECT_TIMEOUT_MAX_S, &timeout)) < 0 ||
	    (rc = field_int(r, obj, TARGET, "channel_num", 0, 65536, &channels)) < 0 ||
	    (rc = field_bool(r, obj, TARGET, "ignore_partition", &ignore)) < 0)
		return rc;
	t->connect_timeout_ms = (int)(timeout ? timeout : CONNECT_TIMEOUT_S) * 1000;
	if (channels)
		request_warn(r, TARGET
			     ".channel_num: has no effect, the target's channels are found by themselves");
	if (ignore)
		request_warn(r, TARGET ".ignore_partition: has no effect, partitions are always replicated");
	field_warn_unknown(r, obj, TARGET, known);
	return 0;
}

/* ---- selection ---- */

struct names {
	struct selection_item items[ITEMS_MAX];
	size_t count;
};

/* What Milvus itself takes as a name; "*" stands for all. */
static int check_name(struct request *r, const char *where, const char *key, const char *name)
{
	if (!*name)
		return request_refuse(r, where, key, "is missing or empty");
	if (STREQ(name, "*"))
		return 0;
	if (isdigit((unsigned char)*name) || *name == '$')
		return request_refuse(r, where, key, "must begin with a letter or _");
	for (const char *p = name; *p; p++)
		if (!(isascii(*p) && isalnum((unsigned char)*p)) && *p != '_' && *p != '$')
			return request_refuse(r, where, key,
					      "must have only letters, digits, _ and $, or be *");
	return 0;
}

/* One {"name": ...}; a start position is something this version does not have. */
static int parse_item(struct request *r, const json_t *item, const char *where, const char **ret)
{
	static const char *const known[] = {"name", "positions", "use_start_position", NULL};
	const char *name = "";
	int rc;

	if (!json_is_object(item))
		return request_refuse(r, where, "", "must be an object {\"name\": ...}");
	if ((rc = field_string(r, item, where, "name", (size_t)r->conf->max_name_length, &name)) < 0 ||
	    (rc = check_name(r, where, "name", name)) < 0)
		return rc;
	if (field_is_set(item, "positions"))
		return request_refuse(r, where, "positions",
				      "is not supported by this version: a task starts now");
	if (field_is_set(item, "use_start_position"))
		return request_refuse(r, where, "use_start_position", "is not supported by this version");
	field_warn_unknown(r, item, where, known);
	*ret = name;
	return 0;
}

static int parse_list(struct request *r, const json_t *list, const char *where, const char *db,
		      struct names *out)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = NULL;
		char at[256];
		int rc;

		snprintf(at, sizeof(at), "%.200s[%zu]", where, i);
		if ((rc = parse_item(r, json_array_get(list, i), at, &name)) < 0)
			return rc;
		if (out->count == ITEMS_MAX)
			return request_refuse(r, where, "", "has more than 4096 names");
		/* "*" in collection_infos is the whole source; a name there is of the default database */
		out->items[out->count++] = (struct selection_item){
			.db = (char *)(!db ? (STREQ(name, "*") ? "*" : "default") : db),
			.collection = (char *)name};
	}
	return 0;
}

static int parse_databases(struct request *r, json_t *dbs, struct names *out)
{
	const char *db;
	json_t *list;
	int rc;

	json_object_foreach(dbs, db, list)
	{
		char where[128];

		if (strlen(db) > (size_t)r->conf->max_name_length)
			return request_refuse(r, "db_collections", db, "this name is too long");
		if ((rc = check_name(r, "db_collections", db, db)) < 0)
			return rc;
		if (!json_is_array(list) || !json_array_size(list))
			return request_refuse(r, "db_collections", db,
					      "must be a list with at least one {\"name\": ...}");
		snprintf(where, sizeof(where), "db_collections.%.64s", db);
		if ((rc = parse_list(r, list, where, db, out)) < 0)
			return rc;
	}
	return 0;
}

static int parse_selection(struct request *r, struct names *out)
{
	json_t *infos = NULL, *dbs = NULL;
	int rc;

	if ((rc = field_array(r, r->data, "", "collection_infos", &infos)) < 0 ||
	    (rc = field_object(r, r->data, "", "db_collections", &dbs)) < 0 ||
	    (rc = parse_list(r, infos, "collection_infos", NULL, out)) < 0 ||
	    (rc = parse_databases(r, dbs, out)) < 0)
		return rc;
	if (!out->count)
		return request_refuse(r, "", "collection_infos",
				      "is missing or empty: name the collections, or \"*\"");
	return 0;
}

/* ---- the rest ---- */

/* What would change the task's meaning is refused; what only tunes the peer gets a warning. */
static int parse_others(struct request *r)
{
	static const char *const refused[] = {"name_mapping", "positions", "use_start_position",
					      "kafka_connect_param"};
	json_t *rpc = NULL, *buffer = NULL, *extra = NULL;
	bool no_auto_start = false;
	const char *channel = "";
	int64_t n;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (field_is_set(r->data, refused[i]))
			return request_refuse(r, "", refused[i], "is not supported by this version");
	if ((rc = field_object(r, r->data, "", "rpc_channel_info", &rpc)) < 0 ||
	    (rc = field_string(r, rpc, "rpc_channel_info", "name", TEXT_MAX, &channel)) < 0 ||
	    (rc = field_object(r, r->data, "", "buffer_config", &buffer)) < 0 ||
	    (rc = field_int(r, buffer, "buffer_config", "period", 0, INT32_MAX, &n)) < 0 ||
	    (rc = field_int(r, buffer, "buffer_config", "size", 0, INT32_MAX, &n)) < 0 ||
	    (rc = field_object(r, r->data, "", "extra_info", &extra)) < 0 ||
	    (rc = field_bool(r, r->data, "", "disable_auto_start", &no_auto_start)) < 0)
		return rc;
	if (field_is_set(rpc, "position"))
		return request_refuse(r, "rpc_channel_info", "position", "is not supported by this version");
	if (*channel && !STREQ(channel, r->conf->source.replicate_chan))
		return request_refuse(r, "rpc_channel_info", "name",
				      "must be the same as sourceConfig.replicateChan of the configuration");
	if (field_is_set(r->data, "buffer_config"))
		request_warn(r, "buffer_config: has no effect, see the apply section of the configuration");
	if (field_is_set(r->data, "extra_info"))
		request_warn(r, "extra_info: has no effect, users and roles are not replicated");
	if (no_auto_start)
		request_warn(r,
			     "disable_auto_start: has no effect, a task goes on after a restart as it was");
	return 0;
}

static json_t *shown_target(struct request *r, const struct target_conf *t)
{
	const json_t *obj = json_object_get(r->data, TARGET);
	const json_t *uri = json_object_get(obj, "uri");
	bool v6 = strchr(t->host, ':') != NULL;
	json_t *o = json_object(), *dial = json_object();

	json_object_set_new(o, "host", json_text(t->host));
	json_object_set_new(o, "port", json_integer(t->port));
	json_object_set_new(o, "enable_tls", json_boolean(t->tls.enable));
	if (json_is_string(uri) && json_string_length(uri))
		json_object_set_new(o, "uri", json_text(json_string_value(uri)));
	else
		json_object_set_new(o, "uri",
				    json_sprintf("%s://%s%s%s:%d", t->tls.enable ? "https" : "http",
						 v6 ? "[" : "", t->host, v6 ? "]" : "", t->port));
	json_object_set_new(o, "connect_timeout", json_integer(t->connect_timeout_ms / 1000));
	json_object_set_new(o, "channel_num",
			    json_integer((json_int_t)json_number_value(json_object_get(obj, "channel_num"))));
	json_object_set_new(o, "ignore_partition",
			    json_boolean(json_is_true(json_object_get(obj, "ignore_partition"))));
	if (t->tls.server_name)
		json_object_set_new(dial, "server_name", json_text(t->tls.server_name));
	if (t->tls.ca_path)
		json_object_set_new(dial, "ca_pem_path", json_text(t->tls.ca_path));
	if (t->tls.cert_path) {
		json_object_set_new(dial, "client_pem_path", json_text(t->tls.cert_path));
		json_object_set_new(dial, "client_key_path", json_text(t->tls.key_path));
	}
	json_object_set_new(o, "dial_config", dial);
	return o;
}

static json_t *shown_names(const json_t *list)
{
	json_t *out = json_array();

	for (size_t i = 0; i < json_array_size(list); i++)
		json_array_append_new(
			out, json_pack("{s:O}", "name", json_object_get(json_array_get(list, i), "name")));
	return out;
}

/* Only what was understood is kept, so nothing that came in as an unknown field can come out. */
static char *shown_text(struct request *r, const struct target_conf *t)
{
	json_t *o = json_object(), *dbs = json_object(), *list;
	const char *db;
	char *out;

	json_object_foreach(json_object_get(r->data, "db_collections"), db, list)
		json_object_set_new(dbs, db, shown_names(list));
	json_object_set_new(o, TARGET, shown_target(r, t));
	json_object_set_new(o, "collection_infos", shown_names(json_object_get(r->data, "collection_infos")));
	json_object_set_new(o, "db_collections", dbs);
	out = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return out;
}

static int parse(struct request *r, struct target_conf *t, struct names *names, const char **id)
{
	static const char *const known[] = {TARGET,
					    "collection_infos",
					    "db_collections",
					    "task_id",
					    "name_mapping",
					    "positions",
					    "use_start_position",
					    "kafka_connect_param",
					    "rpc_channel_info",
					    "buffer_config",
					    "extra_info",
					    "disable_auto_start",
					    NULL};
	int rc;

	field_warn_unknown(r, r->data, "", known);
	if ((rc = field_string(r, r->data, "", "task_id", TASK_ID_MAX, id)) < 0)
		return rc;
	if (rc > 0 && !**id)
		*id = NULL; /* as the peer: make one */
	if (*id && !task_id_valid(*id))
		return request_refuse(r, "", "task_id",
				      "must have only letters, digits, '.', '_' and '-', no '.' first");
	if ((rc = parse_others(r)) < 0 || (rc = parse_target(r, t)) < 0)
		return rc;
	return parse_selection(r, names);
}

static void names_free(struct names *n)
{
	free(n);
}
DEFINE_AUTO(struct names, names_free)
DEFINE_AUTO(struct target_conf, target_conf_free)

int request_create(struct request *r)
{
	AUTO(target_conf_free) struct target_conf *t = xcalloc(1, sizeof(*t));
	AUTO(names_free) struct names *names = xcalloc(1, sizeof(*names));
	AUTO_FREE char *shown = NULL;
	struct task_spec spec = {0};
	struct selection selection;
	char id[TASK_ID_MAX + 1];
	int rc;

	if (!conf_has_source(r->conf))
		return err_set(r->err, ERR_NO_SOURCE,
			       "no source is configured: set sourceConfig.etcd.address and "
			       "sourceConfig.kafka.address in %s and restart",
			       r->conf->file);
	if ((rc = parse(r, t, names, &spec.id)) < 0)
		return rc;
	shown = shown_text(r, t);
	selection = (struct selection){.items = names->items, .count = names->count};
	spec.target = t;
	spec.selection = &selection;
	spec.shown = shown;
	if ((rc = tasks_create(r->tasks, &spec, id, r->err)) < 0)
		return rc;
	json_object_set_new(r->answer, "task_id", json_string(id));
	return 0;
}
