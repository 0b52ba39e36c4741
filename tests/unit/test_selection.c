/* SPDX-License-Identifier: Apache-2.0 */
/* Which collections a task wants, and copies of a target. */
#include <cdc/flow.h>

#include "../t.h"

#define SELECTION(...) \
	((struct selection){.items = (struct selection_item[]){__VA_ARGS__}, \
			    .count = sizeof((struct selection_item[]){__VA_ARGS__}) / \
				     sizeof(struct selection_item)})

TEST(stars_want_everything)
{
	struct selection all = SELECTION({.db = "*", .collection = "*"});

	CHECK(selection_wants(&all, "default", "a") && selection_wants(&all, "d", "b"));
	CHECK(selection_wants_db(&all, "d"));
}

TEST(a_name_is_wanted_in_its_database_only)
{
	struct selection s = SELECTION({.db = "default", .collection = "a"}, {.db = "d", .collection = "*"});

	CHECK(selection_wants(&s, "default", "a") && !selection_wants(&s, "default", "b"));
	CHECK(!selection_wants(&s, "default", "A") && !selection_wants(&s, "default", "aa"));
	CHECK(selection_wants(&s, "d", "b") && !selection_wants(&s, "e", "a"));
	CHECK(selection_wants_db(&s, "d") && !selection_wants_db(&s, "e"));
}

TEST(no_database_is_the_default_one)
{
	struct selection s = SELECTION({.db = "", .collection = "a"}),
			 n = SELECTION({.db = "default", .collection = "b"});

	CHECK(selection_wants(&s, "default", "a") && selection_wants(&n, "", "b"));
	CHECK(selection_wants(&n, NULL, "b") && selection_wants_db(&s, "default"));
}

TEST(an_empty_selection_wants_nothing)
{
	struct selection none = {0};

	CHECK(!selection_wants(&none, "default", "a") && !selection_wants_db(&none, "default"));
}

TEST(an_exclusion_goes_before_every_inclusion_wherever_it_stands)
{
	struct selection s =
		SELECTION({.db = "default", .collection = "a", .exclude = true},
			  {.db = "*", .collection = "*"}, {.db = "d", .collection = "b", .exclude = true},
			  {.db = "*", .collection = "tmp", .exclude = true});

	CHECK(!selection_wants(&s, "", "a") && selection_wants(&s, "", "b") && selection_wants(&s, "d", "a"));
	CHECK(!selection_wants(&s, "d", "b") && !selection_wants(&s, "d", "tmp") &&
	      !selection_wants(&s, "", "tmp"));
	CHECK(selection_wants_db(&s, "d") && selection_wants_db(&s, "default"));
}

TEST(an_excluded_database_is_not_wanted_itself)
{
	struct selection s =
		SELECTION({.db = "*", .collection = "*"}, {.db = "d", .collection = "*", .exclude = true});

	CHECK(!selection_wants_db(&s, "d") && !selection_wants(&s, "d", "a") && selection_wants_db(&s, "e"));
}

TEST(a_copy_of_a_target_shares_nothing_with_it)
{
	struct target_conf t = {
		.host = "h", .port = 5, .connect_timeout_ms = 7, .tls = {.enable = true, .ca_path = "/c"}};
	struct target_conf *c = target_conf_copy(&t), *d;

	CHECK(c->host != t.host && c->tls.ca_path != t.tls.ca_path && !c->authorization && !c->tls.key_path);
	CHECK_STR(c->host, "h");
	CHECK_STR(c->tls.ca_path, "/c");
	CHECK_INT(c->port, 5);
	CHECK_INT(c->connect_timeout_ms, 7);
	CHECK(c->tls.enable);
	c->authorization = xstrdup("u:p");
	d = target_conf_copy(c);
	target_conf_free(c);
	CHECK_STR(d->authorization, "u:p");
	target_conf_free(d);
	target_conf_free(NULL);
}

TEST_MAIN()
