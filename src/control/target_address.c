/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets by address (R31): names are resolved, every way to say "this machine" is one, and two
 * targets with one address and the port in common are the same.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#include "target_address.h"

#define ADDRESSES_MAX 64

static void add_address(struct buf *b, const struct sockaddr *sa, socklen_t len)
{
	static const char *const loopback[] = {"127.0.0.1", "::1", "0.0.0.0", "::"};
	char text[NI_MAXHOST];
	const char *address = text;

	if (getnameinfo(sa, len, text, sizeof(text), NULL, 0, NI_NUMERICHOST) != 0)
		return;
	if (strncmp(address, "::ffff:", 7) == 0 && strchr(address, '.'))
		address += 7; /* v4 in v6 clothes */
	for (size_t i = 0; i < ARRAY_LEN(loopback); i++)
		if (STREQ(address, loopback[i]))
			address = loopback[0];
	buf_addf(b, "%s ", address);
}

int target_resolve(const struct target_conf *t, char **ret, struct err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	struct buf b = {0};
	int rc = getaddrinfo(t->host, NULL, &hints, &list), n = 0;

	if (rc != 0)
		return err_set(err, ERR_TARGET_LOST, "target %s:%d: the name cannot be resolved: %s", t->host,
			       t->port, gai_strerror(rc));
	for (struct addrinfo *a = list; a && n < ADDRESSES_MAX; a = a->ai_next, n++)
		add_address(&b, a->ai_addr, a->ai_addrlen);
	freeaddrinfo(list);
	buf_adds(&b, "");
	*ret = b.data ? (char *)b.data : xstrdup("");
	return 0;
}

static bool has_address(const char *list, const char *address, size_t n)
{
	for (const char *p = list; *p; p += strcspn(p, " "), p += *p == ' ')
		if (strcspn(p, " ") == n && strncmp(p, address, n) == 0)
			return true;
	return false;
}

bool target_same(const struct target_conf *a, const char *a_resolved, const struct target_conf *b,
		 const char *b_resolved)
{
	if (a->port != b->port)
		return false;
	if (strcasecmp(a->host, b->host) == 0)
		return true;
	for (const char *p = a_resolved; *p; p += strcspn(p, " "), p += *p == ' ')
		if (has_address(b_resolved, p, strcspn(p, " ")))
			return true;
	return false;
}
