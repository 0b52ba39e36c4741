/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the configuration points to: passwords, certificates, keys. Needs the program openssl. */
#include <cdc/conf.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/base/conf_value.h"
#include "../t.h"

static char dir[64], why[512];

static char *in_dir(const char *name)
{
	if (!*dir) {
		snprintf(dir, sizeof(dir), "/tmp/cdc-conf-files-XXXXXX");
		CHECK(mkdtemp(dir));
	}
	return xasprintf("%s/%s", dir, name);
}

static char *file(const char *name, const char *text, size_t n)
{
	char *path = in_dir(name);
	FILE *f = fopen(path, "w");

	CHECK(f && fwrite(text, 1, n, f) == n);
	fclose(f);
	return path;
}

static void secret_is(const char *text, size_t n, const char *want)
{
	AUTO_FREE char *path = file("secret", text, n);
	AUTO_FREE char *got = NULL;

	CHECK(conf_secret_read(path, &got, why, sizeof(why)));
	CHECK_STR(got, want);
}

static void secret_refused(const char *text, size_t n, const char *want)
{
	AUTO_FREE char *path = file("secret", text, n);
	char *got = NULL;

	CHECK(!conf_secret_read(path, &got, why, sizeof(why)));
	CHECK(!got);
	CHECKF(strstr(why, path) && strstr(why, want), "got \"%s\", want \"%s\"", why, want);
}

TEST(a_password_file_holds_the_password_and_at_most_one_line_end)
{
	secret_is("geheim", 6, "geheim");
	secret_is("geheim\n", 7, "geheim");
	secret_is("geheim\r\n", 8, "geheim");
	secret_is(" a b \n\n", 7, " a b \n");
}

TEST(a_password_file_that_holds_none_is_refused)
{
	static char big[5000];

	memset(big, 'x', sizeof(big));
	secret_refused("", 0, "is empty");
	secret_refused("\n", 1, "is empty");
	secret_refused("a\0b", 3, "no text file");
	secret_refused(big, sizeof(big), "more than 4096 bytes");
}

TEST(a_password_file_without_a_slash_is_a_credential_of_the_service)
{
	AUTO_FREE char *path = file("kafka", "geheim\n", 7);
	AUTO_FREE char *got = NULL;

	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	CHECK(conf_secret_read("kafka", &got, why, sizeof(why)));
	CHECK_STR(got, "geheim");
	unsetenv("CREDENTIALS_DIRECTORY");
	free(TAKE(got));
	CHECK(!conf_secret_read("kafka", &got, why, sizeof(why)));
}

static int load(const char *text, struct conf **ret, struct err *err)
{
	AUTO_FREE char *path = file("cdc.yaml", text, strlen(text));

	return conf_load(ret, path, NULL, NULL, err);
}

TEST(a_password_comes_from_its_file_or_from_the_configuration_but_not_from_both)
{
	AUTO_FREE char *path = file("secret", "geheim\n", 7);
	AUTO_FREE char *one =
		xasprintf("sourceConfig: {etcd: {enableAuth: true, username: u, passwordFile: %s},\n"
			  " kafka: {saslUsername: u, sasl: {passwordFile: %s}}}\n",
			  path, path);
	AUTO_FREE char *both =
		xasprintf("sourceConfig:\n etcd: {password: other,\n  passwordFile: %s}\n", path);
	AUTO(conf_free) struct conf *c = NULL;
	struct conf *none = NULL;
	struct err err = {0};

	CHECKF(load(one, &c, &err) == 0, "%s", err.text);
	CHECK_STR(c->source.etcd.password, "geheim");
	CHECK_STR(c->source.kafka.sasl_password, "geheim");
	CHECK_INT(load(both, &none, &err), -ERR_CONFIG);
	CHECK(strstr(err.text, ":3: sourceConfig.etcd.passwordFile: ") && !strstr(err.text, "other"));
}

static void make(const char *name)
{
	AUTO_FREE char *base = in_dir(name);
	AUTO_FREE char *cmd =
		xasprintf("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
			  "-days 2 -subj /CN=x -keyout %s.key -out %s.pem 2>/dev/null",
			  base, base);

	CHECK_INT(system(cmd), 0);
}

static void tls_is(const struct conf_tls *t, enum conf_tls_part part, const char *path, const char *want)
{
	why[0] = 0;
	CHECK_INT(conf_tls_check(t, why, sizeof(why)), part);
	CHECKF(strstr(why, path) && strstr(why, want), "got \"%s\", want \"%s\"", why, want);
}

TEST(certificates_and_keys_are_looked_at_before_they_are_used)
{
	AUTO_FREE char *a = in_dir("a.pem"), *a_key = in_dir("a.key"), *b_key = in_dir("b.key");
	AUTO_FREE char *missing = in_dir("missing"), *locked = in_dir("locked.key");
	AUTO_FREE char *lock =
		xasprintf("openssl pkey -in %s -aes128 -passout pass:x -out %s", a_key, locked);

	make("a");
	make("b");
	CHECK_INT(system(lock), 0);
	tls_is(&(struct conf_tls){.enable = true}, CONF_TLS_OK, "", "");
	tls_is(&(struct conf_tls){.ca_path = a, .cert_path = a, .key_path = a_key}, CONF_TLS_OK, "", "");
	tls_is(&(struct conf_tls){.ca_path = missing}, CONF_TLS_CA, missing, "No such file");
	tls_is(&(struct conf_tls){.ca_path = dir}, CONF_TLS_CA, dir, "directory");
	tls_is(&(struct conf_tls){.ca_path = a_key}, CONF_TLS_CA, a_key, "no certificate");
	tls_is(&(struct conf_tls){.cert_path = missing, .key_path = a_key}, CONF_TLS_CERT, missing,
	       "No such");
	tls_is(&(struct conf_tls){.cert_path = a, .key_path = a}, CONF_TLS_KEY, a, "no private key");
	tls_is(&(struct conf_tls){.cert_path = a, .key_path = b_key}, CONF_TLS_KEY, b_key,
	       "is not the key of");
	tls_is(&(struct conf_tls){.cert_path = a, .key_path = locked}, CONF_TLS_KEY, locked, "is encrypted");
}

TEST(an_expired_certificate_is_told_with_its_date)
{
	AUTO_FREE char *a = in_dir("a.pem"), *a_key = in_dir("a.key"), *old = in_dir("old.pem");
	AUTO_FREE char *index = file("index", "", 0);
	AUTO_FREE char *conf =
		xasprintf("[ca]\ndefault_ca=it\n[it]\ndatabase=%s\nnew_certs_dir=%s\npolicy=any\n"
			  "default_md=sha256\nrand_serial=yes\n[any]\ncommonName=supplied\n",
			  index, dir);
	AUTO_FREE char *conf_path = file("ca.cnf", conf, strlen(conf));
	AUTO_FREE char *cmd =
		xasprintf("openssl ca -batch -config %s -keyfile %s -cert %s -ss_cert %s -out %s "
			  "-startdate 20200101000000Z -enddate 20200102030405Z 2>/dev/null >&2",
			  conf_path, a_key, a, a, old);
	char date[64] = "";

	make("a");
	CHECK_INT(system(cmd), 0);
	CHECK(!conf_certificate_over(a, date, sizeof(date)));
	CHECK(!conf_certificate_over("/no/such.pem", date, sizeof(date)));
	CHECK(conf_certificate_over(old, date, sizeof(date)));
	CHECK_STR(date, "2020-01-02 03:04 UTC");
}

TEST(work_files_are_removed)
{
	AUTO_FREE char *cmd = xasprintf("rm -rf %s", dir);

	CHECK_INT(system(cmd), 0);
}

TEST_MAIN()
