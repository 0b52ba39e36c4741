/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dates of certificates: ours from its file, a server's from a handshake that trusts anybody and is ended at
 * once. Whether a certificate is trusted is told by the connection that is tried with the real settings.
 */
#include "doctor_priv.h"

#include <cdc/worker.h>

#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOON_DAYS 30

static void say_date(struct doctor *d, const char *what, const char *which, int64_t end)
{
	AUTO_FREE char *name = xasprintf("%s, %s", what, which);
	int64_t days = (end - clock_real_ms() / 1000) / 86400;
	bool over = end < clock_real_ms() / 1000;
	time_t t = (time_t)end;
	char date[64] = "?";
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &tm);
	if (over)
		doctor_say(d, FAIL, name, "renew it, or check the clock", "expired on %s", date);
	else
		doctor_say(d, days < SOON_DAYS ? WARN : OK, name, days < SOON_DAYS ? "renew it" : "",
			   "good until %s, %lld day%s", date, (long long)days, days == 1 ? "" : "s");
}

/* A connected socket with time limits; -1: none. */
static int dial(const char *host, int port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	struct timeval limit = {.tv_sec = CHECK_MS / 1000};
	char service[16];
	int fd = -1;

	snprintf(service, sizeof(service), "%d", port);
	if (getaddrinfo(host, service, &hints, &list) != 0)
		return -1;
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* connect, too */
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	return fd;
}

/* Takes the date of the server's own certificate and goes on whatever is wrong with it. */
static int on_certificate(int good, X509_STORE_CTX *ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	X509 *x = X509_STORE_CTX_get0_cert(ctx);
	int64_t *end = SSL_get_app_data(ssl);
	struct tm tm = {0};

	(void)good;
	if (x && ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1)
		*end = (int64_t)timegm(&tm);
	return 1;
}

/* When the server's certificate ends; -1: it did not show one. */
static int64_t server_end(const struct conf_tls *t, const char *host, int port)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = ctx ? SSL_new(ctx) : NULL;
	AUTO_FREE char *name = xstrdup(t->server_name ? t->server_name : host);
	int fd = ssl ? dial(host, port) : -1;
	int64_t end = -1;

	if (fd >= 0) {
		SSL_set_verify(ssl, SSL_VERIFY_PEER, on_certificate);
		SSL_set_app_data(ssl, &end);
		SSL_set_tlsext_host_name(ssl, name);
		SSL_set_fd(ssl, fd);
		SSL_connect(ssl);
		close(fd);
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	ERR_clear_error();
	return end;
}

void doctor_tls(struct doctor *d, const char *what, const struct conf_tls *t, const char *host, int port)
{
	int64_t end;

	if (t->cert_path && (end = conf_certificate_end(t->cert_path)) >= 0)
		say_date(d, what, "our certificate", end);
	if (host && (end = server_end(t, host, port)) >= 0)
		say_date(d, what, "the server's certificate", end);
}
