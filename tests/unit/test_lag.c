/* SPDX-License-Identifier: Apache-2.0 */
#include "../../src/data/lag.h"

#include "../t.h"

TEST(a_target_that_has_nothing_yet_has_no_lag_instead_of_the_age_of_time)
{
	CHECK_INT(lag_of(1000000, 0, 0), -1);
}

TEST(lag_is_the_age_of_what_is_applied_or_of_the_last_look_at_a_source_without_collections)
{
	CHECK_INT(lag_of(1000000, ts_from_ms(999000), 0), 1000);
	CHECK_INT(lag_of(1000000, ts_from_ms(999000), 999500), 500);
	CHECK_INT(lag_of(1000000, ts_from_ms(999000), 998000), 1000);
	CHECK_INT(lag_of(1000000, 0, 999500), 500);
	CHECK_INT(lag_of(1000000, ts_from_ms(1000200), 0), 0); /* a clock that is behind */
}

TEST_MAIN()
