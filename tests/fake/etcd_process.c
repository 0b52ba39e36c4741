/* SPDX-License-Identifier: Apache-2.0 */
/* Starting, stopping and filling a real etcd. */
#include "etcd_process.h"

#include "h2_server.h"

#include <cdc/pb.h>
#include <cdc/worker.h>

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 30000
#define PUT_BATCH 100

static void run(const struct etcd_process *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void run(const struct etcd_process *p, const char *fmt, ...)
{
	AUTO_FREE char *command = NULL, *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&command, fmt, ap) < 0)
		abort();
	va_end(ap);
	line = xasprintf("cd '%s' && { %s; } >>log 2>&1", p->dir, command);
	if (system(line) != 0) {
		fprintf(stderr, "failed: %s\n", line);
		abort();
	}
}

static void make_ca(const struct etcd_process *p, const char *name)
{
	run(p,
	    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=%s "
	    "-keyout %s.key -out %s.pem",
	    name, name, name);
}

static void make_cert(const struct etcd_process *p, const char *name, const char *ca, const char *san)
{
	run(p,
	    "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=%s -keyout %s.key "
	    "-out %s.csr",
	    name, name, name);
	run(p, "printf 'subjectAltName=%s\\nextendedKeyUsage=serverAuth,clientAuth\\n' >%s.ext", san, name);
	run(p,
	    "openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial -days 2 -extfile %s.ext "
	    "-out %s.pem",
	    name, ca, ca, name, name);
}

static void make_tls(const struct etcd_process *p)
{
	make_ca(p, "ca");
	make_ca(p, "other-ca");
	make_cert(p, "server", "ca", "IP:127.0.0.1,DNS:etcd.test");
	make_cert(p, "client", "ca", "DNS:client.test");
	make_cert(p, "other", "other-ca", "DNS:client.test");
}

char *etcd_process_path(const struct etcd_process *p, const char *file)
{
	return xasprintf("%s/%s", p->dir, file);
}

/* The admin's connection: plain, or with the good client certificate. */
static void connect_admin(struct etcd_process *p)
{
	AUTO_FREE char *ca = etcd_process_path(p, "ca.pem"), *cert = etcd_process_path(p, "client.pem"),
		       *key = etcd_process_path(p, "client.key");
	struct grpc_conf c = {.host = "127.0.0.1",
			      .port = p->port,
			      .connect_timeout_ms = 5000,
			      .lost = ERR_SOURCE_LOST,
			      .auth = ERR_SOURCE_AUTH,
			      .foreign = ERR_SOURCE_FOREIGN};

	if (p->tls) {
		c.tls.enable = true;
		c.tls.ca_path = ca;
		c.tls.cert_path = cert;
		c.tls.key_path = key;
	}
	grpc_free(p->admin);
	p->admin = grpc_new(&c);
}

struct etcd_process *etcd_process_new(bool tls)
{
	struct etcd_process *p = xcalloc(1, sizeof(*p));
	const char *tmp = getenv("TMPDIR");

	p->dir = xasprintf("%s/cdc-etcd-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(p->dir)) {
		perror(p->dir);
		abort();
	}
	p->tls = tls;
	p->port = fake_free_port();
	do
		p->peer_port = fake_free_port();
	while (p->peer_port == p->port);
	p->address = xasprintf("127.0.0.1:%d", p->port);
	if (tls)
		make_tls(p);
	connect_admin(p);
	return p;
}

static void exec_etcd(const struct etcd_process *p)
{
	AUTO_FREE char *client = xasprintf("%s://127.0.0.1:%d", p->tls ? "https" : "http", p->port);
	AUTO_FREE char *peer = xasprintf("http://127.0.0.1:%d", p->peer_port);
	AUTO_FREE char *cluster = xasprintf("t=%s", peer);
	const char *argv[] = {"etcd",
			      "--name",
			      "t",
			      "--data-dir",
			      "data",
			      "--listen-client-urls",
			      client,
			      "--advertise-client-urls",
			      client,
			      "--listen-peer-urls",
			      peer,
			      "--initial-advertise-peer-urls",
			      peer,
			      "--initial-cluster",
			      cluster,
			      p->tls ? "--cert-file=server.pem" : NULL,
			      "--key-file=server.key",
			      "--trusted-ca-file=ca.pem",
			      "--client-cert-auth",
			      NULL};
	int log;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (chdir(p->dir) < 0 || (log = open("etcd.log", O_WRONLY | O_CREAT | O_APPEND, 0600)) < 0)
		_exit(126);
	dup2(log, 1);
	dup2(log, 2);
	execvp("etcd", (char **)(uintptr_t)argv);
	_exit(127);
}

static void ready(struct etcd_process *p)
{
	struct conf_etcd conf = {.address = (char *[]){p->address, NULL}};
	AUTO_FREE char *ca = etcd_process_path(p, "ca.pem"), *cert = etcd_process_path(p, "client.pem"),
		       *key = etcd_process_path(p, "client.key");
	AUTO(arena_free) struct arena *arena = arena_new();
	AUTO(etcd_free) struct etcd *e = NULL;
	int64_t until = clock_mono_ms() + START_MS;
	struct err err = {0};
	int status;

	if (p->tls)
		conf.tls =
			(struct conf_tls){.enable = true, .ca_path = ca, .cert_path = cert, .key_path = key};
	e = etcd_new(&conf, NULL, NULL);
	while (clock_mono_ms() < until) {
		struct etcd_range range = {.key = "x"};
		struct etcd_answer answer;

		/* an etcd that asks for a user is ready, too */
		if (etcd_read(e, &range, 1, 2000, arena, &answer, &err) == 0 || err.code == ERR_SOURCE_AUTH)
			return;
		if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
			fprintf(stderr,
				"etcd ended with status %d (is etcd-server installed?), see %s/etcd.log\n",
				WIFEXITED(status) ? WEXITSTATUS(status) : -1, p->dir);
			abort();
		}
		poll(NULL, 0, 20);
	}
	fprintf(stderr, "etcd is not ready after %d ms: %s\n", START_MS, err.text);
	abort();
}

void etcd_process_start(struct etcd_process *p)
{
	assert(p->pid == 0);
	fflush(NULL);
	p->pid = fork();
	assert(p->pid >= 0);
	if (p->pid == 0)
		exec_etcd(p);
	ready(p);
}

void etcd_process_signal(struct etcd_process *p, int sig)
{
	assert(p->pid > 0);
	kill(p->pid, sig);
	if (sig == SIGSTOP)
		waitpid(p->pid, NULL, WUNTRACED); /* until then its other threads may still answer */
}

void etcd_process_kill(struct etcd_process *p)
{
	etcd_process_signal(p, SIGKILL);
	waitpid(p->pid, NULL, 0);
	p->pid = 0;
}

void etcd_process_free(struct etcd_process *p)
{
	AUTO_FREE char *rm = NULL;

	if (!p)
		return;
	if (p->pid > 0)
		etcd_process_kill(p);
	grpc_free(p->admin);
	rm = xasprintf("rm -rf '%s'", p->dir);
	if (system(rm) != 0)
		fprintf(stderr, "cannot remove %s\n", p->dir);
	free(p->dir);
	free(p->address);
	free(p);
}

bool etcd_process_call(struct etcd_process *p, const char *method, const struct buf *req, struct err *err)
{
	AUTO_BUF struct buf reply = {0};

	/* after a restart the first call may find the old connection dead */
	return grpc_call(p->admin, method, req->data, req->len, 10000, &reply, NULL, err) == 0 ||
	       (err->code == ERR_SOURCE_LOST &&
		grpc_call(p->admin, method, req->data, req->len, 10000, &reply, NULL, err) == 0);
}

static void must(struct etcd_process *p, const char *method, const struct buf *req)
{
	struct err err;

	if (!etcd_process_call(p, method, req, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

static void add_put(struct buf *txn, const char *key, const char *value)
{
	AUTO_BUF struct buf put = {0}, op = {0};

	pb_put_string(&put, 1, key);
	pb_put_string(&put, 2, value);
	pb_put_bytes(&op, 2, put.data, put.len);
	pb_put_bytes(txn, 2, op.data, op.len);
}

void etcd_process_put(struct etcd_process *p, const char *key, const char *value)
{
	AUTO_BUF struct buf txn = {0};

	add_put(&txn, key, value);
	must(p, "/etcdserverpb.KV/Txn", &txn);
}

void etcd_process_put_many(struct etcd_process *p, const char *prefix, size_t n)
{
	AUTO_BUF struct buf txn = {0};

	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *key = xasprintf("%s%05zu", prefix, i), *value = xasprintf("v%zu", i);

		add_put(&txn, key, value);
		if (i % PUT_BATCH == PUT_BATCH - 1 || i == n - 1) {
			must(p, "/etcdserverpb.KV/Txn", &txn);
			buf_reset(&txn);
		}
	}
}

void etcd_process_compact(struct etcd_process *p, int64_t revision)
{
	AUTO_BUF struct buf req = {0};

	pb_put_uint(&req, 1, (uint64_t)revision);
	pb_put_uint(&req, 2, 1); /* wait until it is done */
	must(p, "/etcdserverpb.KV/Compact", &req);
}

/* A request of two strings, fields 1 and 2. */
static void pair(struct etcd_process *p, const char *method, const char *a, const char *b)
{
	AUTO_BUF struct buf req = {0};

	if (a)
		pb_put_string(&req, 1, a);
	if (b)
		pb_put_string(&req, 2, b);
	must(p, method, &req);
}

static void grant_read(struct etcd_process *p, const char *role, const char *prefix)
{
	AUTO_BUF struct buf perm = {0}, req = {0};
	AUTO_FREE char *end = xstrdup(prefix);

	end[strlen(end) - 1]++;
	pb_put_uint(&perm, 1, 0); /* READ */
	pb_put_string(&perm, 2, prefix);
	pb_put_string(&perm, 3, end);
	pb_put_string(&req, 1, role);
	pb_put_bytes(&req, 2, perm.data, perm.len);
	must(p, "/etcdserverpb.Auth/RoleGrantPermission", &req);
}

static void log_in_admin(struct etcd_process *p)
{
	AUTO_BUF struct buf req = {0}, reply = {0};
	AUTO_FREE char *metadata = NULL;
	struct pb_reader r;
	struct pb_field f;
	struct err err;

	pb_put_string(&req, 1, "root");
	pb_put_string(&req, 2, "rootpw");
	if (grpc_call(p->admin, "/etcdserverpb.Auth/Authenticate", req.data, req.len, 10000, &reply, NULL,
		      &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	r = pb_reader(reply.data, reply.len);
	while (pb_next(&r, &f) > 0)
		if (f.number == 2 && !metadata)
			metadata = xasprintf("token: %.*s", (int)f.size, (const char *)f.data);
	grpc_set_metadata(p->admin, metadata);
}

void etcd_process_auth(struct etcd_process *p, const char *prefix)
{
	pair(p, "/etcdserverpb.Auth/UserAdd", "root", "rootpw");
	pair(p, "/etcdserverpb.Auth/RoleAdd", "root", NULL);
	pair(p, "/etcdserverpb.Auth/UserGrantRole", "root", "root");
	pair(p, "/etcdserverpb.Auth/UserAdd", "reader", "readerpw");
	pair(p, "/etcdserverpb.Auth/RoleAdd", "reading", NULL);
	grant_read(p, "reading", prefix);
	pair(p, "/etcdserverpb.Auth/UserGrantRole", "reader", "reading");
	pair(p, "/etcdserverpb.Auth/AuthEnable", NULL, NULL);
	log_in_admin(p);
}
