/* SPDX-License-Identifier: Apache-2.0 */
/* wire_parse_address: every accepted spelling, and that everything else is refused with a reason. */
#include <cdc/wire.h>

#include "../t.h"

static void accepts(const char *address, const char *want_host, int want_port, bool want_tls)
{
	AUTO_FREE char *host = NULL;
	struct err err = {0};
	int port = -1;
	bool tls = !want_tls;

	CHECKF(wire_parse_address(address, &host, &port, &tls, &err) == 0, "%s: %s", address, err.text);
	CHECK_STR(host, want_host);
	CHECK_INT(port, want_port);
	CHECK(tls == want_tls);
}

static void refuses(const char *address, const char *text)
{
	char untouched[] = "untouched", *host = untouched;
	struct err err = {0};
	int port = -7;
	bool tls = true;

	CHECKF(wire_parse_address(address, &host, &port, &tls, &err) == -ERR_INVALID, "%s was accepted",
	       address);
	CHECKF(strstr(err.text, text), "'%s' does not say '%s'", err.text, text);
	CHECK(host == untouched && port == -7 && tls);
	CHECK(wire_parse_address(address, &host, &port, &tls, NULL) == -ERR_INVALID);
}

TEST(host_and_port_with_and_without_scheme)
{
	accepts("localhost:2379", "localhost", 2379, false);
	accepts("http://10.0.0.1:19530", "10.0.0.1", 19530, false);
	accepts("tcp://10.0.0.1:19530", "10.0.0.1", 19530, false);
	accepts("https://a.example.com:1", "a.example.com", 1, true);
	accepts("HTTPS://A.example.com:65535", "A.example.com", 65535, true);
	accepts("my_milvus-1:2379", "my_milvus-1", 2379, false);
	accepts("http://h:80/", "h", 80, false);
}

TEST(v6_addresses_stand_in_brackets)
{
	accepts("[::1]:2379", "::1", 2379, false);
	accepts("https://[2001:db8::7]:443", "2001:db8::7", 443, true);
	accepts("https://[2001:db8::7]", "2001:db8::7", 443, true);
	refuses("::1:2379", "valid host");
	refuses("[::1", "valid host");
	refuses("[::1]", "no port");
	refuses("[::1]2379", "not host:port");
	refuses("[]:1", "valid host");
	refuses("[localhost]:1", "valid host");
	refuses("[::1%eth0]:1", "valid host");
	refuses("[1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7:8]:1", "valid host");
}

TEST(https_without_a_port_means_443_others_need_one)
{
	accepts("https://in01.example.com", "in01.example.com", 443, true);
	accepts("https://in01.example.com/", "in01.example.com", 443, true);
	refuses("http://h", "no port");
	refuses("h", "no port");
	refuses("h/", "no port");
}

TEST(nonsense_is_refused)
{
	refuses("", "valid host");
	refuses("/", "valid host");
	refuses(":1", "valid host");
	refuses("http://:1", "valid host");
	refuses("http://", "valid host");
	refuses("h:", "not host:port");
	refuses("h:0", "not host:port");
	refuses("h:65536", "not host:port");
	refuses("h:+1", "not host:port");
	refuses("h:00000000001", "not host:port");
	refuses("h:1x", "not host:port");
	refuses("h:1/db", "not host:port");
	refuses("https://h/db", "not host:port");
	refuses("h:1//", "not host:port");
	refuses("h:1?a=b", "not host:port");
	refuses("a,b:1", "valid host");
	refuses("-h:1", "valid host");
	refuses("h:1:2", "not host:port");
	refuses("unix:///run/x", "scheme");
	refuses("h h:1", "space");
	refuses("h:1\r\nx: y", "space");
	refuses("h\xc3\xa4:1", "space");
}

TEST(a_password_in_an_address_is_refused_and_not_repeated)
{
	struct err err;
	char *host;
	int port;
	bool tls;

	CHECK(wire_parse_address("https://root:hunter2@h:1", &host, &port, &tls, &err) == -ERR_INVALID);
	CHECK(!strstr(err.text, "hunter2"));
	CHECK(strstr(err.text, "without user and password"));
}

TEST(length_is_limited)
{
	char address[400];

	memset(address, 'a', sizeof(address));
	memcpy(address + 253, ":1", 3);
	address[253 + 2] = 0;
	CHECK(strlen(address) == 255);
	{
		AUTO_FREE char *host = NULL;
		int port;
		bool tls;

		CHECK(wire_parse_address(address, &host, &port, &tls, NULL) == 0);
		CHECK_INT(strlen(host), 253);
	}
	memset(address, 'a', sizeof(address));
	memcpy(address + 254, ":1", 3);
	refuses(address, "valid host");
	memset(address, 'a', sizeof(address));
	memcpy(address + 396, ":1", 3);
	refuses(address, "at most");
}

TEST_MAIN()
