/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real etcd (Debian etcd-server) as a child of the test: ports of its own, data in a new folder
 * under $TMPDIR or /tmp that is removed with it, dead when the test dies. And what a test needs to
 * change in it, over its own API. One thread. What cannot work in a test aborts it.
 */
#ifndef FAKE_ETCD_PROCESS_H
#define FAKE_ETCD_PROCESS_H

#include <cdc/wire.h>

#include <stdbool.h>
#include <sys/types.h>

struct etcd_process {
	char *dir;
	int port, peer_port;
	bool tls;      /* https, and clients must show a certificate of dir/ca.pem */
	char *address; /* "127.0.0.1:port" */
	pid_t pid;     /* 0: not running */
	struct grpc *admin;
};
/* tls: also makes, in dir: ca.pem, client.pem and client.key, other-ca.pem, other.pem and other.key
 * (a client of the other CA). The server's certificate is for 127.0.0.1 and etcd.test. */
struct etcd_process *etcd_process_new(bool tls);
void etcd_process_start(struct etcd_process *p);           /* waits until it answers */
void etcd_process_kill(struct etcd_process *p);            /* SIGKILL; the data stay */
void etcd_process_signal(struct etcd_process *p, int sig); /* SIGSTOP: returns when it stands */
void etcd_process_free(struct etcd_process *p);
DEFINE_AUTO(struct etcd_process, etcd_process_free)

char *etcd_process_path(const struct etcd_process *p, const char *file); /* dir/file, freed by the caller */

void etcd_process_put(struct etcd_process *p, const char *key, const char *value);
/* prefix00000 ... with value "v<n>", n of them. */
void etcd_process_put_many(struct etcd_process *p, const char *prefix, size_t n);
void etcd_process_compact(struct etcd_process *p, int64_t revision);
/* Users "root" (password "rootpw", may all) and "reader" ("readerpw", may read what starts with
 * prefix), then authentication on. The admin connection logs in as root. */
void etcd_process_auth(struct etcd_process *p, const char *prefix);
/* Any unary call with a ready request; false and *err if it fails. */
bool etcd_process_call(struct etcd_process *p, const char *method, const struct buf *req, struct err *err);

#endif
