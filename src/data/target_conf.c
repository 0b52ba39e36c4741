/* SPDX-License-Identifier: Apache-2.0 */
/* Copies and ends of struct target_conf. The authorization is wiped before its memory is given back. */
#include <cdc/sink.h>

#include <stdlib.h>
#include <string.h>

void target_conf_free(struct target_conf *t)
{
	if (!t)
		return;
	if (t->authorization)
		explicit_bzero(t->authorization, strlen(t->authorization));
	free(t->authorization);
	free(t->host);
	free(t->tls.ca_path);
	free(t->tls.cert_path);
	free(t->tls.key_path);
	free(t->tls.server_name);
	free(t);
}

struct target_conf *target_conf_copy(const struct target_conf *t)
{
	struct target_conf *c = xmalloc(sizeof(*c));

	*c = (struct target_conf){
		.host = xstrdup(t->host),
		.port = t->port,
		.authorization = xstrdup(t->authorization),
		.tls = {.enable = t->tls.enable,
			.ca_path = xstrdup(t->tls.ca_path),
			.cert_path = xstrdup(t->tls.cert_path),
			.key_path = xstrdup(t->tls.key_path),
			.server_name = xstrdup(t->tls.server_name)},
		.connect_timeout_ms = t->connect_timeout_ms,
	};
	return c;
}
