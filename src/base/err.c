/* SPDX-License-Identifier: Apache-2.0 */
/* The error table's accessors. */
#include <cdc/err.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *text;
	enum err_policy policy;
	int http;
} table[ERR_COUNT] = {[ERR_OK] = {"OK", "ok", ERR_RETRY, 200},
#define X(name, policy, http, text) [ERR_##name] = {#name, text, ERR_##policy, http},
		      ERR_TABLE(X)
#undef X
};

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		err->code = code;
		err->pchannel[0] = 0;
		err->system = 0;
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return -code;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	char prefix[256], old[sizeof(err->text)];
	va_list ap;

	if (!err)
		return -ERR_INTERNAL;
	va_start(ap, fmt);
	vsnprintf(prefix, sizeof(prefix), fmt, ap);
	va_end(ap);
	memcpy(old, err->text, sizeof(old));
	if (snprintf(err->text, sizeof(err->text), "%s: %s", prefix, old) >= (int)sizeof(err->text))
		memcpy(err->text + sizeof(err->text) - 4, "...", 4);
	return -err->code;
}

int err_about(int rc, struct err *err, const char *pchannel)
{
	if (rc < 0 && err)
		snprintf(err->pchannel, sizeof(err->pchannel), "%s", pchannel);
	return rc;
}

int err_system(int rc, struct err *err, int number)
{
	if (rc < 0 && err)
		err->system = number;
	return rc;
}

static int checked(int code)
{
	return code >= 0 && code < ERR_COUNT ? code : ERR_INTERNAL;
}

enum err_policy err_policy(int code)
{
	return table[checked(code)].policy;
}

int err_http_status(int code)
{
	return table[checked(code)].http;
}

const char *err_name(int code)
{
	return table[checked(code)].name;
}

const char *err_text(int code)
{
	return table[checked(code)].text;
}
