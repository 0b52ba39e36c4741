/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a configuration or a task points to: passwords, certificates and keys. They are looked
 * at where they are named, so that a wrong path is told with its key and not as a handshake that fails
 * later. What is in a password file or a key is never part of a text. Any thread.
 */
#include <cdc/conf.h>

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <time.h>

#include "conf_value.h"

#define SECRET_MAX 4096

DEFINE_AUTO(FILE, fclose)
DEFINE_AUTO(X509, X509_free)
DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)

/* A name without a slash is a credential of the service (systemd.exec: LoadCredential=). */
static char *secret_path(const char *file)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");

	return strchr(file, '/') || !folder ? xstrdup(file) : xasprintf("%s/%s", folder, file);
}

bool conf_secret_read(const char *file, char **ret, char *why, size_t size)
{
	AUTO_FREE char *path = secret_path(file);
	AUTO(fclose) FILE *f = fopen(path, "re");
	char text[SECRET_MAX + 2];
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	bool ok = false;

	if (!f || ferror(f))
		snprintf(why, size, "cannot read %s: %s", path, strerror(errno));
	else if (n > SECRET_MAX)
		snprintf(why, size, "%s has more than %d bytes: this is no password", path, SECRET_MAX);
	else if (memchr(text, 0, n))
		snprintf(why, size, "%s is no text file", path);
	else
		ok = true;
	if (ok && n && text[n - 1] == '\n')
		n--;
	if (ok && n && text[n - 1] == '\r')
		n--;
	if (ok && !n)
		snprintf(why, size, "%s is empty", path);
	text[n] = 0;
	if (ok && n)
		*ret = xstrdup(text);
	explicit_bzero(text, sizeof(text));
	return ok && n;
}

static FILE *open_pem(const char *path, char *why, size_t size)
{
	FILE *f = fopen(path, "re");
	int c = f ? fgetc(f) : EOF; /* a folder can be opened, and not read */

	if (f && (c != EOF || !ferror(f))) {
		rewind(f);
		return f;
	}
	snprintf(why, size, "cannot read %s: %s", path, strerror(errno));
	if (f)
		fclose(f);
	return NULL;
}

static X509 *read_certificate(const char *path, char *why, size_t size)
{
	AUTO(fclose) FILE *f = open_pem(path, why, size);
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (f && !x)
		snprintf(why, size, "%s holds no certificate in PEM form", path);
	return x;
}

/* Nobody is there to ask. */
static int no_passphrase(char *buf, int size, int rw, void *arg)
{
	(void)buf;
	(void)size;
	(void)rw;
	*(bool *)arg = true;
	return -1;
}

static EVP_PKEY *read_key(const char *path, char *why, size_t size)
{
	AUTO(fclose) FILE *f = open_pem(path, why, size);
	bool asked = false;
	EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, no_passphrase, &asked) : NULL;

	if (f && !key)
		snprintf(why, size,
			 asked ? "%s is encrypted: a key without passphrase is needed"
			       : "%s holds no private key in PEM form",
			 path);
	return key;
}

static enum conf_tls_part check_files(const struct conf_tls *t, char *why, size_t size)
{
	AUTO(X509_free) X509 *ca = NULL;
	AUTO(X509_free) X509 *cert = NULL;
	AUTO(EVP_PKEY_free) EVP_PKEY *key = NULL;

	if (t->ca_path && !(ca = read_certificate(t->ca_path, why, size)))
		return CONF_TLS_CA;
	if (t->cert_path && !(cert = read_certificate(t->cert_path, why, size)))
		return CONF_TLS_CERT;
	if (t->key_path && !(key = read_key(t->key_path, why, size)))
		return CONF_TLS_KEY;
	if (cert && key && X509_check_private_key(cert, key) != 1) {
		snprintf(why, size, "%s is not the key of the certificate %s", t->key_path, t->cert_path);
		return CONF_TLS_KEY;
	}
	return CONF_TLS_OK;
}

enum conf_tls_part conf_tls_check(const struct conf_tls *t, char *why, size_t size)
{
	enum conf_tls_part part = check_files(t, why, size);

	ERR_clear_error(); /* what was wrong has been said; a connection of this thread must not find it */
	return part;
}

bool conf_certificate_over(const char *path, char *ret, size_t n)
{
	char why[512];
	AUTO(X509_free) X509 *x = read_certificate(path, why, sizeof(why));
	struct tm tm = {0};
	bool over = x && X509_cmp_current_time(X509_get0_notAfter(x)) < 0 &&
		    ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1;

	ERR_clear_error();
	return over && strftime(ret, n, "%Y-%m-%d %H:%M UTC", &tm) > 0;
}

int64_t conf_certificate_end(const char *path)
{
	char why[512];
	AUTO(X509_free) X509 *x = read_certificate(path, why, sizeof(why));
	struct tm tm = {0};
	bool known = x && ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1;

	ERR_clear_error();
	return known ? (int64_t)timegm(&tm) : -1;
}
