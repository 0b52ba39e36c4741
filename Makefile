# SPDX-License-Identifier: Apache-2.0
# make: build/release/milvus-cdc. make help: the rest.
VARIANT ?= release
ifeq ($(origin CC),default)
CC      := gcc
endif
CFLAGS  ?= -O2 -g
B       := build/$(VARIANT)
PKGS    := sqlite3 jansson libmicrohttpd libcurl rdkafka libprotobuf-c libsystemd openssl yaml-0.1
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
ifeq ($(WERROR),1)
WARN    += -Werror
endif
VERSION := $(shell sed -n 's/^\#\# \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md 2>/dev/null | head -n 1)
prefix  ?= /usr/local
sysconfdir ?= /etc
unitdir ?= $(prefix)/lib/systemd/system

SAN.asan := -fsanitize=address,undefined -fno-sanitize-recover=all
SAN.tsan := -fsanitize=thread
# kill points and fault hooks exist in every variant but the released program
TEST.release :=
TEST.test := -DCDC_TEST
TEST.asan := -DCDC_TEST
TEST.tsan := -DCDC_TEST
TEST.lint-gcc := -DCDC_TEST
TEST.lint-clang := -DCDC_TEST

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
# before libc's own: an object, since nothing asks an archive for what libc has
SANOBJ.tsan := $(B)/tests/fake/c11_threads.o
# these need a real target (TARGET_URI): make check runs them on its stack
REAL    := $(patsubst %.c,$(B)/%,$(wildcard tests/contract/test_*_target.c))
# the longest first: they run side by side
LONG    := $(wildcard tests/fault/test_*.c tests/contract/test_*.c) tests/unit/test_doctor.c
UNIT    := $(filter-out $(REAL),$(patsubst %.c,$(B)/%,$(LONG) $(filter-out $(LONG),$(wildcard tests/unit/test_*.c))))
HELPERS := $(filter-out $(wildcard tests/fault/test_*.c),$(wildcard tests/fault/*.c tests/fake/*.c))
BENCH   := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/*.c))

all: $(B)/milvus-cdc

$(B)/milvus-cdc: $(B)/src/main.o $(SANOBJ.$(VARIANT)) $(B)/libcdc.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(ALL_LDLIBS)
$(B)/libcdc.a: $(OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$(B)/libtest.a: $(HELPERS:%.c=$(B)/%.o)
	@rm -f $@
	$(AR) rcs $@ $^
$(UNIT) $(REAL) $(BENCH): $(B)/%: $(B)/%.o $(B)/libtest.a $(B)/libcdc.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< $(SANOBJ.$(VARIANT)) $(B)/libtest.a $(B)/libcdc.a $(B)/libtest.a $(ALL_LDLIBS)

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
test-programs: $(UNIT)
test-real: $(REAL)
	@tests/run-unit.sh $(REAL)
bench-programs: $(BENCH)
check-asan check-tsan: check-%:
	$(MAKE) VARIANT=$* test

# the two commands: everything from nothing
demo:
	@tests/stack/deps.sh all
	@$(MAKE) -sq all || echo "building build/release/milvus-cdc"
	@$(MAKE) -s -j"$$(nproc)" all
	@tests/demo.sh
check:
	@tests/check.sh
chaos:
	@tests/crash/chaos.sh
deps:
	@tests/stack/deps.sh build
soak:
	@tests/stack/deps.sh all
	@$(MAKE) -s -j"$$(nproc)" all
	@SEEDS=$(SEEDS) tests/model/soak.sh
bench:
	@tests/stack/deps.sh all
	@$(MAKE) -s -j"$$(nproc)" all bench-programs
	@tests/bench/bench.sh

C_FILES  = $(shell find include src tests -name '*.[ch]')
lint:
	@tests/lint-layers.sh
	@$(MAKE) -s -j"$$(nproc)" VARIANT=lint-gcc CC=gcc WERROR=1 CFLAGS=-O1 all
	@$(MAKE) -s -j"$$(nproc)" VARIANT=lint-clang CC=clang WERROR=1 CFLAGS=-O1 all
	@clang-format --dry-run --Werror $(C_FILES) && echo "clang-format: ok"
fmt:
	clang-format -i $(C_FILES)

# manual pages; that of the configuration from its table
MAN := $(B)/milvus-cdc.8 $(B)/cdc.yaml.5
man: $(MAN)
$(B)/milvus-cdc.8: packaging/man/milvus-cdc.8 CHANGELOG.md
	@mkdir -p $(B)
	sed 's/^\(\.TH [^"]*\)""/\1"$(VERSION)"/' $< >$@
$(B)/man_conf: packaging/man/man_conf.c src/base/conf.def
	@mkdir -p $(B)
	$(CC) -std=gnu11 $(CFLAGS) -o $@ $<
$(B)/cdc.yaml.5: packaging/man/cdc.yaml.5.head packaging/man/cdc.yaml.5.tail $(B)/man_conf CHANGELOG.md
	{ sed 's/^\(\.TH [^"]*\)""/\1"$(VERSION)"/' $<; $(B)/man_conf; cat packaging/man/cdc.yaml.5.tail; } >$@

# the message catalog, from the table of events
$(B)/catalog: packaging/man/catalog.c include/cdc/log_events.h
	@mkdir -p $(B)
	$(CC) -std=gnu11 $(CFLAGS) -o $@ $<
$(B)/milvus-cdc.catalog: $(B)/catalog
	$(B)/catalog >$@

install: all man $(B)/milvus-cdc.catalog
	install -D -m 0755 $(B)/milvus-cdc $(DESTDIR)$(prefix)/bin/milvus-cdc
	install -D -m 0644 -t $(DESTDIR)$(unitdir) systemd/milvus-cdc.service systemd/milvus-cdc@.service
	install -D -m 0644 -t $(DESTDIR)$(prefix)/lib/systemd/catalog $(B)/milvus-cdc.catalog
	install -D -m 0644 $(B)/milvus-cdc.8 $(DESTDIR)$(prefix)/share/man/man8/milvus-cdc.8
	install -D -m 0644 $(B)/cdc.yaml.5 $(DESTDIR)$(prefix)/share/man/man5/cdc.yaml.5
	install -D -m 0644 packaging/milvus-cdc.bash-completion \
		$(DESTDIR)$(prefix)/share/bash-completion/completions/milvus-cdc
	@[ -e $(DESTDIR)$(sysconfdir)/milvus-cdc/cdc.yaml ] || \
		install -D -m 0640 packaging/cdc.yaml $(DESTDIR)$(sysconfdir)/milvus-cdc/cdc.yaml
uninstall:
	rm -f $(DESTDIR)$(prefix)/bin/milvus-cdc $(DESTDIR)$(unitdir)/milvus-cdc.service \
		$(DESTDIR)$(unitdir)/milvus-cdc@.service $(DESTDIR)$(prefix)/lib/systemd/catalog/milvus-cdc.catalog \
		$(DESTDIR)$(prefix)/share/man/man8/milvus-cdc.8 $(DESTDIR)$(prefix)/share/man/man5/cdc.yaml.5 \
		$(DESTDIR)$(prefix)/share/bash-completion/completions/milvus-cdc
deb:
	@packaging/deb.sh
clean:
	rm -rf build
help:
	@echo "all (default)   build/release/milvus-cdc, without network"
	@echo "demo            install what is missing, build, start a small real stack, replicate, show it"
	@echo "check           the whole test command, from nothing"
	@echo "chaos MINUTES=N every fault on real servers, both modes; makes docs/reliability.md"
	@echo "test            unit, contract and short fault loops; no network"
	@echo "check-asan      the same under AddressSanitizer and UBSan;  check-tsan: ThreadSanitizer"
	@echo "soak SEEDS=50   random operations by several clients, everything compared, both modes"
	@echo "bench           figures: latency, throughput, memory, idle CPU, journal"
	@echo "deb             the Debian package, in build/deb"
	@echo "deps lint fmt man install uninstall clean"

-include $(OBJ:.o=.d) $(UNIT:=.d) $(REAL:=.d) $(BENCH:=.d) $(B)/src/main.d $(HELPERS:%.c=$(B)/%.d)
.PHONY: soak chaos all test test-programs test-real bench-programs check-asan check-tsan demo check deps bench lint fmt man install uninstall deb clean help
