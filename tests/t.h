/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole test framework: TEST(name) { CHECK(...); } and TEST_MAIN(). Prints TAP; a failed CHECK
 * ends its test, says where, and makes the program exit 1. T_ARGS filters by substring of the name.
 */
#ifndef T_H
#define T_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct t_case {
	const char *name;
	void (*fn)(void);
	struct t_case *next;
};
static struct t_case *t_first, **t_last = &t_first;
static jmp_buf t_jmp;

#define TEST(id) \
	static void id(void); \
	static struct t_case t_case_##id = {#id, id, NULL}; \
	__attribute__((constructor)) static void t_reg_##id(void) \
	{ \
		*t_last = &t_case_##id; \
		t_last = &t_case_##id.next; \
	} \
	static void id(void)

#define CHECK(cond) CHECKF(cond, "%s", "")
#define CHECKF(cond, ...) \
	do { \
		if (!(cond)) { \
			printf("# %s:%d: CHECK(%s) failed ", __FILE__, __LINE__, #cond); \
			printf(__VA_ARGS__); \
			printf("\n"); \
			longjmp(t_jmp, 1); \
		} \
	} while (0)
#define CHECK_INT(a, b) \
	do { \
		long long t_a = (long long)(a), t_b = (long long)(b); \
		CHECKF(t_a == t_b, "%s = %lld, want %lld", #a, t_a, t_b); \
	} while (0)
#define CHECK_STR(a, b) \
	do { \
		const char *t_a = (a), *t_b = (b); \
		CHECKF(t_a &&t_b &&strcmp(t_a, t_b) == 0, "%s = \"%s\", want \"%s\"", #a, \
		       t_a ? t_a : "(null)", t_b ? t_b : "(null)"); \
	} while (0)

#define TEST_MAIN() \
	int main(void) \
	{ \
		const char *only = getenv("T_ARGS"); \
		static int n, failed; \
		setvbuf(stdout, NULL, _IOLBF, 0); \
		for (struct t_case *volatile t = t_first; t; t = t->next) { \
			if (only && !strstr(t->name, only)) \
				continue; \
			n++; \
			if (setjmp(t_jmp) == 0) { \
				t->fn(); \
				printf("ok %d - %s\n", n, t->name); \
			} else { \
				failed++; \
				printf("not ok %d - %s\n", n, t->name); \
			} \
		} \
		printf("1..%d\n", n); \
		return failed != 0; \
	}

#endif
