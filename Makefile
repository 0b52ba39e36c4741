# SPDX-License-Identifier: Apache-2.0
# make: build/release/milvus-cdc. make help: the rest.
VARIANT ?= release
CC      ?= gcc
CFLAGS  ?= -O2 -g
B       := build/$(VARIANT)
PKGS    := sqlite3 jansson libmicrohttpd libcurl rdkafka libprotobuf-c libsystemd openssl yaml-0.1
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
ifeq ($(WERROR),1)
WARN    += -Werror
endif
VERSION := $(shell sed -n 's/^\#\# \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md 2>/dev/null | head -n 1)
prefix  ?= /usr/local

SAN.asan := -fsanitize=address,undefined -fno-sanitize-recover=all
SAN.tsan := -fsanitize=thread
# kill points and fault hooks exist in every variant but the released program
TEST.release :=
TEST.test := -DCDC_TEST
TEST.asan := -DCDC_TEST
TEST.tsan := -DCDC_TEST

# what we need stands apart from what the packager sets, so neither can drop the other
ALL_CPPFLAGS = -Iinclude -I$(B) -D_GNU_SOURCE -DCDC_VERSION='"$(VERSION)"' $(TEST.$(VARIANT)) \
	$(shell pkg-config --cflags $(PKGS)) $(CPPFLAGS)
ALL_CFLAGS   = -std=gnu11 $(WARN) -pthread $(SAN.$(VARIANT)) $(CFLAGS)
ALL_LDLIBS   = $(shell pkg-config --libs $(PKGS)) -lm

PROTO   := $(wildcard src/proto/*.proto)
PROTO_C := $(PROTO:src/proto/%.proto=$(B)/%.pb-c.c)
PROTO_H := $(PROTO_C:.c=.h)
SQL     := $(wildcard sql/*.sql)
SQL_H   := $(SQL:sql/%.sql=$(B)/sql_%.h)
SRC     := $(filter-out src/main.c,$(wildcard src/*/*.c))
OBJ     := $(SRC:%.c=$(B)/%.o) $(PROTO_C:.c=.o)
UNIT    := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c tests/fault/test_*.c tests/contract/test_*.c))
HELPERS := $(filter-out $(wildcard tests/fault/test_*.c),$(wildcard tests/fault/*.c tests/fake/*.c))
BENCH   := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/*.c))

all: $(B)/milvus-cdc

$(B)/milvus-cdc: $(B)/src/main.o $(B)/libcdc.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(ALL_LDLIBS)
$(B)/libcdc.a: $(OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$(B)/libtest.a: $(HELPERS:%.c=$(B)/%.o)
	@rm -f $@
	$(AR) rcs $@ $^
$(UNIT) $(BENCH): $(B)/%: $(B)/%.o $(B)/libtest.a $(B)/libcdc.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< $(B)/libtest.a $(B)/libcdc.a $(B)/libtest.a $(ALL_LDLIBS)

# generated code is compiled without our warnings
$(B)/%.pb-c.c $(B)/%.pb-c.h: src/proto/%.proto
	@mkdir -p $(B)
	protoc-c --proto_path=src/proto --c_out=$(B) $<
$(B)/%.pb-c.o: $(B)/%.pb-c.c $(PROTO_H)
	$(CC) $(ALL_CPPFLAGS) -std=gnu11 -pthread $(SAN.$(VARIANT)) $(CFLAGS) -c -o $@ $<
$(B)/sql_%.h: sql/%.sql
	@mkdir -p $(B)
	{ echo '/* made from $< */'; sed -e 's/--.*//' -e '/^[[:space:]]*$$/d' -e 's/["\\]/\\&/g' -e 's/.*/"&\\n"/' $<; } >$@
$(B)/%.o: %.c Makefile | $(PROTO_H) $(SQL_H)
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
.SECONDARY: $(PROTO_C) $(PROTO_H) $(SQL_H)

# unit, contract and short fault loops: no network, under a minute
test: $(UNIT)
	@tests/run-unit.sh $(UNIT)

-include $(OBJ:.o=.d) $(UNIT:=.d) $(BENCH:=.d) $(B)/src/main.d $(HELPERS:%.c=$(B)/%.d)
.PHONY: all test
