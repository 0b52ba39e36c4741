/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The create request: its parts are parsed by api_target.c, api_selection.c, api_mapping.c and
 * api_start.c; this file has the rest, and what get and list will show. Nothing is asked of anyone
 * here; tasks_create does that.
 */
#include <stdlib.h>

#include "api_priv.h"
#include "target_names.h"

/* What would change the task's meaning is refused; what only tunes the peer gets a warning. */
static int parse_others(struct request *r)
{
	json_t *rpc = NULL, *buffer = NULL;
	bool no_auto_start = false;
	const char *channel = "";
	int64_t n;
	int rc;

	if (field_is_set(r->data, "kafka_connect_param"))
		return request_refuse(r, "", "kafka_connect_param", "is not supported by this version");
	if ((rc = field_object(r, r->data, "", "rpc_channel_info", &rpc)) < 0 ||
	    (rc = field_string(r, rpc, "rpc_channel_info", "name", API_TEXT_MAX, &channel)) < 0 ||
	    (rc = field_object(r, r->data, "", "buffer_config", &buffer)) < 0 ||
	    (rc = field_int(r, buffer, "buffer_config", "period", 0, INT32_MAX, &n)) < 0 ||
	    (rc = field_int(r, buffer, "buffer_config", "size", 0, INT32_MAX, &n)) < 0 ||
	    (rc = field_bool(r, r->data, "", "disable_auto_start", &no_auto_start)) < 0)
		return rc;
	if (field_is_set(rpc, "position"))
		return request_refuse(r, "rpc_channel_info", "position", "is not supported by this version");
	if (*channel && !STREQ(channel, r->conf->source.replicate_chan))
		return request_refuse(r, "rpc_channel_info", "name",
				      "must be the same as sourceConfig.replicateChan of the configuration");
	if (field_is_set(r->data, "buffer_config"))
		request_warn(r, "buffer_config: has no effect, see the apply section of the configuration");
	if (no_auto_start)
		request_warn(r,
			     "disable_auto_start: has no effect, a task goes on after a restart as it was");
	return 0;
}

static int parse_users(struct request *r, bool *ret)
{
	static const char *const known[] = {"enable_user_role", NULL};
	json_t *extra = NULL;
	int rc;

	if ((rc = field_object(r, r->data, "", "extra_info", &extra)) <= 0)
		return rc;
	field_warn_unknown(r, extra, "extra_info", known);
	return field_bool(r, extra, "extra_info", "enable_user_role", ret) < 0 ? -ERR_INVALID : 0;
}

/* "auto" takes what the target is; the others insist. */
static int parse_mode(struct request *r, const char **ret)
{
	const char *mode = "";
	int rc;

	if ((rc = field_string(r, r->data, "", "mode", 16, &mode)) < 0)
		return rc;
	if (!*mode || STREQ(mode, "auto"))
		return 0;
	if (!STREQ(mode, "replicate") && !STREQ(mode, "upsert"))
		return request_refuse(r, "", "mode", "must be auto, replicate or upsert");
	*ret = mode;
	return 0;
}

static int parse_id(struct request *r, const char **ret)
{
	const char *id = "";
	int rc;

	if ((rc = field_string(r, r->data, "", "task_id", TASK_ID_MAX, &id)) < 0)
		return rc;
	if (!*id)
		return 0; /* as the peer: make one */
	if (!task_id_valid(id))
		return request_refuse(r, "", "task_id",
				      "must have only letters, digits, '.', '_' and '-', no '.' first");
	*ret = id;
	return 0;
}

/* Only what was understood is kept, so nothing that came in as an unknown field can come out. */
static char *shown_text(struct request *r, const struct task_spec *spec)
{
	json_t *o = json_object(), *start = json_object_get(r->data, "start");
	char *out;

	json_object_set_new(o, "milvus_connect_param", shown_target(r, spec->target));
	shown_selection(r, o);
	shown_mapping(spec->names, o);
	if (json_is_string(start))
		json_object_set(o, "start", start);
	out = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return out;
}

struct parts {
	struct target_conf *target;
	struct selection selection;
	struct name_map names;
};

static int parse(struct request *r, struct parts *p, struct task_spec *spec)
{
	static const char *const known[] = {"milvus_connect_param",
					    "collection_infos",
					    "db_collections",
					    "exclude_collections",
					    "name_mapping",
					    "mode",
					    "extra_info",
					    "task_id",
					    "start",
					    "positions",
					    "use_start_position",
					    "kafka_connect_param",
					    "rpc_channel_info",
					    "buffer_config",
					    "disable_auto_start",
					    NULL};
	int rc;

	field_warn_unknown(r, r->data, "", known);
	if ((rc = parse_id(r, &spec->id)) < 0 || (rc = parse_others(r)) < 0 ||
	    (rc = parse_mode(r, &spec->mode)) < 0 || (rc = parse_users(r, &spec->users)) < 0 ||
	    (rc = parse_target(r, p->target)) < 0 || (rc = parse_selection(r, &p->selection)) < 0 ||
	    (rc = parse_mapping(r, &p->selection, &p->names)) < 0)
		return rc;
	if ((rc = target_names_check(&p->selection, &p->names, r->err)) < 0)
		return rc;
	return parse_start(r, &p->selection, &spec->start);
}

DEFINE_AUTO(struct target_conf, target_conf_free)

int request_create(struct request *r)
{
	AUTO(target_conf_free) struct target_conf *t = xcalloc(1, sizeof(*t));
	AUTO_FREE char *shown = NULL;
	struct parts p = {.target = t};
	struct task_spec spec = {.target = t, .selection = &p.selection, .names = &p.names};
	char id[TASK_ID_MAX + 1];
	int rc;

	if (!conf_has_source(r->conf))
		return err_set(r->err, ERR_NO_SOURCE,
			       "no source is configured: set sourceConfig.etcd.address and "
			       "sourceConfig.kafka.address in %s and restart",
			       r->conf->file);
	if ((rc = parse(r, &p, &spec)) < 0)
		return rc;
	spec.shown = shown = shown_text(r, &spec);
	if ((rc = tasks_create(r->tasks, &spec, id, r->err)) < 0)
		return rc;
	json_object_set_new(r->answer, "task_id", json_string(id));
	return 0;
}
