/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. Small allocations abort the process when memory is out (crash-only: the next start
 * recovers); what a peer can size is limited before it comes here. An arena owns everything of one
 * batch and frees it at once; none of its memory is freed alone. Nothing here is thread-safe:
 * an arena or a buf belongs to one thread at a time.
 */
#ifndef CDC_MEM_H
#define CDC_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
void *xmemdup(const void *p, size_t n);
char *xstrdup(const char *s); /* NULL stays NULL */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Scope-bound ownership: AUTO(thing_free) struct thing *t = ...; calls thing_free(t) when t leaves
 * its scope. The type's header says DEFINE_AUTO(struct thing, thing_free). TAKE(t) hands it on.
 */
#define DEFINE_AUTO(type, fn) \
	static inline void fn##_auto(type **p) \
	{ \
		if (*p) \
			fn(*p); \
	}
#define AUTO(fn) __attribute__((cleanup(fn##_auto)))
#define TAKE(p) \
	({ \
		__typeof__(p) take_ = (p); \
		(p) = NULL; \
		take_; \
	})
void mem_free_auto(void *pp);
#define AUTO_FREE __attribute__((cleanup(mem_free_auto)))

/* Growable bytes. {0} is an empty one. data is NUL-terminated past len, for convenience. */
struct buf {
	uint8_t *data;
	size_t len, cap;
};
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_addc(struct buf *b, uint8_t c);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_reset(struct buf *b); /* len = 0, memory kept */
void buf_free(struct buf *b);  /* frees the memory, not b; b is empty afterwards */
static inline void buf_free_auto(struct buf *b)
{
	buf_free(b);
}
#define AUTO_BUF __attribute__((cleanup(buf_free_auto)))

struct arena;
struct arena *arena_new(void);
void *arena_alloc(struct arena *a, size_t n); /* 16-byte aligned, zeroed */
void *arena_dup(struct arena *a, const void *p, size_t n);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const void *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_reset(struct arena *a); /* frees all but one chunk */
size_t arena_size(const struct arena *a);
void arena_free(struct arena *a);
DEFINE_AUTO(struct arena, arena_free)

/* An allocator for protobuf-c that unpacks into an arena: pass &it.base; nothing is freed singly. */
struct arena_pb {
	void *(*alloc)(void *data, size_t n);
	void (*free)(void *data, void *p);
	void *data;
}; /* layout of ProtobufCAllocator */
struct arena_pb arena_pb(struct arena *a);

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define STREQ(a, b) (strcmp((a), (b)) == 0)

#endif
