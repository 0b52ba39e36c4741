/* SPDX-License-Identifier: Apache-2.0 */
/* Names of kinds and the two hashes whose values are stored for ever. */
#include <cdc/model.h>

#include <string.h>

const char *kind_name(enum kind k)
{
	switch (k) {
#define X(name, n, text) \
	case KIND_##name: \
		return text;
		KIND_TABLE(X)
#undef X
	}
	return "unknown";
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ULL;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ULL;
	h ^= h >> 32;
	return h;
}

uint64_t hash64(uint64_t seed, const void *p, size_t n)
{
	const uint8_t *s = p;
	uint64_t h = mix(seed ^ (0x9e3779b97f4a7c15ULL * (n + 1)));

	for (; n >= 8; s += 8, n -= 8) {
		uint64_t w = 0;

		for (int i = 0; i < 8; i++) /* little endian on every machine */
			w |= (uint64_t)s[i] << (8 * i);
		h = mix(h ^ w) + 0x9e3779b97f4a7c15ULL;
	}
	if (n) {
		uint64_t w = 0;

		for (size_t i = 0; i < n; i++)
			w |= (uint64_t)s[i] << (8 * i);
		h = mix(h ^ w);
	}
	return mix(h);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_hw(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t c = crc;

	for (; n >= 8; p += 8, n -= 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		c = __builtin_ia32_crc32di(c, w);
	}
	for (; n; n--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
	return (uint32_t)c;
}
#endif

static uint32_t crc32c_sw(uint32_t crc, const uint8_t *p, size_t n)
{
	for (; n; n--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_hw(~crc, p, n);
#endif
	return ~crc32c_sw(~crc, p, n);
}
