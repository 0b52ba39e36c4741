/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of other machines, as people write them. Strict: what is not plainly a host and a port
 * is refused here, so that nothing strange reaches a URL. Pure; any thread.
 */
#include <cdc/wire.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#define MAX_ADDRESS 320 /* a DNS name has up to 253 bytes */
#define HTTPS_PORT 443

static const struct {
	const char *prefix;
	bool tls;
} schemes[] = {{"http://", false}, {"https://", true}, {"tcp://", false}};

/* The part behind the scheme, or NULL if there is a scheme that is not ours. */
static const char *skip_scheme(const char *address, bool *ret_tls)
{
	*ret_tls = false;
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		size_t n = strlen(schemes[i].prefix);

		if (strncasecmp(address, schemes[i].prefix, n) == 0) {
			*ret_tls = schemes[i].tls;
			return address + n;
		}
	}
	return strstr(address, "://") ? NULL : address;
}

static bool host_name_ok(const char *host, size_t n)
{
	if (n == 0 || n > 253 || host[0] == '-' || host[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)host[i]) && !strchr("-._", host[i]))
			return false;
	return true;
}

static bool host_v6_ok(const char *host, size_t n)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (n >= sizeof(text))
		return false;
	memcpy(text, host, n);
	text[n] = 0;
	return inet_pton(AF_INET6, text, &addr) == 1;
}

/* 1..65535 with nothing around it; else -1. */
static int parse_port(const char *s, size_t n)
{
	int port = 0;

	if (n == 0 || n > 5)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]))
			return -1;
		port = port * 10 + (s[i] - '0');
	}
	return port >= 1 && port <= 65535 ? port : -1;
}

int wire_parse_address(const char *address, char **ret_host, int *ret_port, bool *ret_tls, struct err *err)
{
	const char *rest, *host, *end, *port_text = NULL;
	size_t host_len;
	int port;
	bool tls, v6;

	/* before anything else is said about it: what stands before an @ may be a password */
	if (strlen(address) > MAX_ADDRESS || strchr(address, '@'))
		return err_set(err, ERR_INVALID,
			       "an address is host:port without user and password, at most %d bytes",
			       MAX_ADDRESS);
	for (const char *p = address; *p; p++)
		if (!isgraph((unsigned char)*p))
			return err_set(err, ERR_INVALID,
				       "an address has a space or a byte that is not ASCII");
	if (!(rest = skip_scheme(address, &tls)))
		return err_set(err, ERR_INVALID, "address '%s': use http://, https:// or no scheme", address);
	end = rest + strlen(rest);
	if (end > rest && end[-1] == '/')
		end--;
	v6 = *rest == '[';
	host = rest + v6;
	host_len = strcspn(host, v6 ? "]" : ":/");
	if (host + host_len > end)
		host_len = (size_t)(end - host);
	port_text = host + host_len + (v6 && host[host_len] == ']');
	if (v6 ? host[host_len] != ']' || !host_v6_ok(host, host_len) : !host_name_ok(host, host_len))
		return err_set(err, ERR_INVALID,
			       "address '%s' has no valid host: use host:port or [v6 address]:port", address);
	if (port_text == end && tls)
		port = HTTPS_PORT;
	else if (port_text == end)
		return err_set(err, ERR_INVALID, "address '%s' has no port: use host:port", address);
	else if (*port_text != ':' || (port = parse_port(port_text + 1, (size_t)(end - port_text - 1))) < 0)
		return err_set(err, ERR_INVALID,
			       "address '%s' is not host:port with a port of 1 to 65535 and no path",
			       address);
	*ret_host = xmalloc(host_len + 1);
	memcpy(*ret_host, host, host_len);
	(*ret_host)[host_len] = 0;
	*ret_port = port;
	*ret_tls = tls;
	return 0;
}
