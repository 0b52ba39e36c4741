/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of etcd_read share. Included by one file of a program. */
#ifndef ETCD_KIT_H
#define ETCD_KIT_H

#include <cdc/wire.h>
#include <cdc/worker.h>

#include "../fake/h2_server.h"
#include "../t.h"

/* A handle with its configuration, results and last outcome. */
struct fixture {
	struct conf_etcd conf;
	char *address[4];
	struct etcd *e;
	struct arena *arena;
	struct etcd_answer answer;
	struct err err;
	int rc;
	int64_t ms;
};

static void fixture_free(struct fixture *f)
{
	etcd_free(f->e);
	arena_free(f->arena);
	free(f);
}
DEFINE_AUTO(struct fixture, fixture_free)

static struct fixture *fixture_new(char *address)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->arena = arena_new();
	f->address[0] = address;
	f->conf.address = f->address;
	return f;
}

static int read_for(struct fixture *f, struct etcd_range *ranges, size_t n, int deadline_ms)
{
	int64_t begin = clock_mono_ms();

	if (!f->e)
		f->e = etcd_new(&f->conf, NULL, NULL);
	f->err = (struct err){0};
	f->rc = etcd_read(f->e, ranges, n, deadline_ms, f->arena, &f->answer, &f->err);
	f->ms = clock_mono_ms() - begin;
	return f->rc;
}

static int read_one(struct fixture *f, const char *key, int deadline_ms)
{
	struct etcd_range range = {.key = key};

	return read_for(f, &range, 1, deadline_ms);
}

static void fails(struct fixture *f, int code, const char *text)
{
	read_one(f, "a/1", 5000);
	CHECKF(f->rc == -code && f->err.code == code, "%s: %s; want %s", err_name(f->err.code), f->err.text,
	       err_name(code));
	CHECKF(strstr(f->err.text, text), "'%s' does not say '%s'", f->err.text, text);
	printf("# %s: %s\n", err_name(code), f->err.text);
}

__attribute__((constructor)) static void etcd_kit_init(void)
{
	wire_init();
}

#endif
