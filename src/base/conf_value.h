/* SPDX-License-Identifier: Apache-2.0 */
/* One value of the configuration: text to number, size, duration, address. Pure; private to conf*.c. */
#ifndef CDC_BASE_CONF_VALUE_H
#define CDC_BASE_CONF_VALUE_H

#include <cdc/conf.h>

/* Sets a key that is no list from text. False: *why has a reason that does not repeat the value. */
bool conf_value_set(struct conf *c, const struct conf_key *k, const char *text, char *why, size_t n);
bool conf_value_endpoint(const char *s);  /* host:port with a port of 1..65535 */
bool conf_value_endpoints(const char *s); /* several, with commas */
bool conf_value_choice(const char *s, const char *const *choices, size_t n);
/* What a password file holds, without the line's end. False: *why has the path and what is wrong. */
bool conf_secret_read(const char *file, char **ret, char *why, size_t n);
void conf_list_free(char **list);

#endif
