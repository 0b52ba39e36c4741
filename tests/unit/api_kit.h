/* SPDX-License-Identifier: Apache-2.0 */
/* For test_api*.c: the real server on a free port, the fake data path, curl as the client. */
#ifndef API_KIT_H
#define API_KIT_H

#include <cdc/log.h>
#include <cdc/task.h>

#include <curl/curl.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/control/api.h"
#include "../t.h"

#define CDC_FLOW_FAKE
#include "../fake/flow_fake.c"

static char kit_dir[64];
static struct conf *kit_conf;
static struct tasks *kit_tasks;
static struct api *kit_api;
static struct err kit_err;

struct answer {
	long status;
	char *text;
	json_t *json;
	char allow[64];
	double seconds;
};
static struct answer ans;

static void kit_rm(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", kit_dir);
	CHECK_INT(system(cmd), 0);
}

/* The daemon over the folder as it is. */
static void kit_up(void)
{
	CHECKF(tasks_open(&kit_tasks, kit_conf, &kit_err) == 0, "%s", kit_err.text);
	CHECKF(api_open(&kit_api, kit_conf, kit_tasks, &kit_err) == 0, "%s", kit_err.text);
	tasks_start(kit_tasks);
}

static void kit_down(void)
{
	tasks_stop(kit_tasks);
	CHECK(tasks_drain(kit_tasks, 5000));
	api_close(kit_api);
	tasks_close(kit_tasks);
	kit_api = NULL;
	kit_tasks = NULL;
}

static void kit_start(void)
{
	fake_reset();
	if (kit_tasks)
		kit_down(); /* a failed test left it */
	conf_free(kit_conf);
	snprintf(kit_dir, sizeof(kit_dir), "/tmp/cdc-api-%d", (int)getpid());
	kit_rm();
	kit_conf = conf_default();
	free(kit_conf->address);
	free(kit_conf->data_dir);
	kit_conf->address = xstrdup("127.0.0.1:0");
	kit_conf->data_dir = xstrdup(kit_dir);
	kit_conf->source.kafka.address = xstrdup("k:1");
	free(kit_conf->source.etcd.address);
	kit_conf->source.etcd.address = xcalloc(2, sizeof(char *));
	kit_conf->source.etcd.address[0] = xstrdup("e:1");
	kit_up();
}

static void kit_end(void)
{
	kit_down();
	kit_rm();
	CHECK_INT(fake.alive, 0);
	json_decref(ans.json);
	free(ans.text);
	ans = (struct answer){0};
	conf_free(kit_conf);
	kit_conf = NULL;
	fake_reset();
}

static size_t kit_take(char *p, size_t size, size_t n, void *arg)
{
	buf_add(arg, p, size * n);
	return size * n;
}

static size_t kit_header(char *p, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;

	if (size * n > 7 && strncasecmp(p, "Allow: ", 7) == 0)
		snprintf(a->allow, sizeof(a->allow), "%.*s", (int)strcspn(p + 7, "\r\n"), p + 7);
	return size * n;
}

static void answer_free(struct answer *a)
{
	json_decref(a->json);
	free(a->text);
	*a = (struct answer){0};
}

/* Any thread. */
static void http_to(struct answer *a, const char *method, const char *path, const char *body, long size)
{
	CURL *c = curl_easy_init();
	struct buf b = {0};
	char url[128];
	CURLcode rc;

	answer_free(a);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", api_port(kit_api), path);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, 20L);
	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, kit_take);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &b);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, kit_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
	if (STREQ(method, "HEAD"))
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	if (body) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, size);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	}
	rc = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &a->status);
	curl_easy_getinfo(c, CURLINFO_TOTAL_TIME, &a->seconds);
	if (rc != CURLE_OK)
		a->status = -(long)rc;
	curl_easy_cleanup(c);
	buf_adds(&b, "");
	a->text = b.data ? (char *)b.data : xstrdup("");
	a->json = json_loads(a->text, 0, NULL);
}

static long http(const char *method, const char *path, const char *body)
{
	http_to(&ans, method, path, body, body ? (long)strlen(body) : 0);
	return ans.status;
}

static long post(const char *body)
{
	return http("POST", "/cdc", body);
}

/* {"request_type": TYPE, "request_data": DATA}; HTTP status and code are the same, always. */
static long req(const char *type, const char *data)
{
	char *body = xasprintf("{\"request_type\":\"%s\",\"request_data\":%s}", type, data);
	long status = post(body);

	free(body);
	CHECKF(ans.json, "%ld %s", status, ans.text);
	CHECK_INT(json_integer_value(json_object_get(ans.json, "code")), status);
	return status;
}

static long req_id(const char *type, const char *id)
{
	char data[256];

	snprintf(data, sizeof(data), "{\"task_id\":\"%s\"}", id);
	return req(type, data);
}

/* A path of keys and indexes: "data.tasks.0.state". */
static json_t *at(const char *path)
{
	AUTO_FREE char *copy = xstrdup(path);
	json_t *v = ans.json;
	char *rest = copy, *key;

	while (v && (key = strsep(&rest, ".")))
		v = json_is_array(v) ? json_array_get(v, (size_t)atoi(key)) : json_object_get(v, key);
	return v;
}

static const char *str_at(const char *path)
{
	return json_string_value(at(path));
}

#define message() str_at("message")

#define TARGET_A "\"milvus_connect_param\":{\"host\":\"127.0.0.1\",\"port\":19530}"

/* A create that must work; extra: more fields of request_data, or "". */
static void create(const char *id, const char *name)
{
	char data[512];

	snprintf(data, sizeof(data),
		 "{" TARGET_A ",\"collection_infos\":[{\"name\":\"%s\"}],\"task_id\":\"%s\"}", name, id);
	CHECKF(req("create", data) == 200, "%s", ans.text);
	CHECK_STR(str_at("data.task_id"), id);
}

/* A request on a thread of its own. */
struct call {
	pthread_t thread;
	const char *body;
	struct answer answer;
};

static void *call_main(void *arg)
{
	struct call *c = arg;

	http_to(&c->answer, "POST", "/cdc", c->body, (long)strlen(c->body));
	return NULL;
}

static __attribute__((unused)) void call_begin(struct call *c, const char *body)
{
	*c = (struct call){.body = body};
	CHECK_INT(pthread_create(&c->thread, NULL, call_main, c), 0);
}

static __attribute__((unused)) long call_end(struct call *c)
{
	long status;

	pthread_join(c->thread, NULL);
	status = c->answer.status;
	answer_free(&c->answer);
	return status;
}

static __attribute__((unused)) bool exists(const char *fmt, const char *id)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/", kit_dir);
	snprintf(path + strlen(path), sizeof(path) - strlen(path), "%s%s", fmt, id);
	return lstat(path, &st) == 0;
}

static __attribute__((unused)) int entries(const char *name)
{
	char path[128];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", kit_dir, name);
	if (!(d = opendir(path)))
		return -1;
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

#endif
