# SPDX-License-Identifier: MIT
#
# The only build entry. Outputs under build/, programs in build/bin.
#   V=1                     show commands
#   SAN=address,undefined   build with sanitizers (under build/san)
#   COV=1                   build for gcov (under build/cov)

V ?= 0
SAN ?=
COV ?=
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell git describe --always --dirty --tags 2>/dev/null || echo 0.1)

B := build$(if $(SAN),/san)$(if $(COV),/cov)
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2))

CC ?= gcc
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /sbin/bpftool) bpftool)
ARCH := $(shell uname -m)
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

CPPFLAGS += -I. -Iuserspace -Ibpf -I$(B)/gen -D_GNU_SOURCE
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter -Werror
CFLAGS += -std=gnu11 -O2 -g -fno-strict-aliasing -fstack-protector-strong $(WARN)
CFLAGS += $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
CFLAGS += $(if $(COV),--coverage -O0)
LDFLAGS += $(if $(SAN),-fsanitize=$(SAN)) $(if $(COV),--coverage)

PKGS := libsodium libcrypto libbpf libxdp libnl-3.0 libnl-route-3.0 sqlite3 jansson libcap-ng
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CPPFLAGS += $(PKG_CFLAGS)
# jemalloc replaces malloc in the daemon; sanitizers bring their own.
JEMALLOC := $(if $(SAN),,-ljemalloc)
LIBS_base :=
LIBS_relay := -lsodium -lcrypto
LIBS_store := -lsqlite3
LIBS_account := -lsodium
LIBS_ctl := -ljansson -lm
LIBS_dp := -lxdp -lbpf -lelf -lz
LIBS_daemon := -lev -linih -lnl-route-3 -lnl-3 -lcap-ng -ljansson -lsodium -lcrypto
ALL_LIBS := $(LIBS_daemon) $(LIBS_dp) $(LIBS_store) $(LIBS_relay) -lpthread -lm

BPF_CFLAGS := -target bpf -g -O2 -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Wno-address-of-packed-member -Ibpf -I/usr/include/$(MULTIARCH)

# --- libraries: one per folder ---
LIB_DIRS := userspace/base relay qos userspace/store userspace/account userspace/ctl userspace/dp userspace/daemon
lib = $(B)/lib/libpc_$(notdir $(1)).a
src_of = $(filter-out %/main.c %_fake.c,$(wildcard $(1)/*.c))
obj_of = $(patsubst %.c,$(B)/obj/%.o,$(call src_of,$(1)))
LIBS_A := $(foreach d,$(LIB_DIRS),$(call lib,$(d)))
LIB_DP_FAKE := $(B)/lib/libpc_dp_fake.a

PROGS := pcd pcstat pcctl pcpeer
BIN := $(PROGS:%=$(B)/bin/%)
BPF_OBJS := $(patsubst bpf/%.bpf.c,$(B)/bpf/%.bpf.o,$(wildcard bpf/*.bpf.c)) \
	$(B)/bpf/relay_dropall.bpf.o
BENCH_BPF := $(patsubst tools/bench/%.bpf.c,$(B)/bench/%.bpf.o,$(wildcard tools/bench/*.bpf.c))

UNIT := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/*.c))
BPFTEST := $(patsubst tests/bpf/%.c,$(B)/tests/bpf/%,$(wildcard tests/bpf/test_*.c))
SCENARIO := $(patsubst tests/scenario/%.c,$(B)/tests/scenario/%,$(wildcard tests/scenario/*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/*.c))
HELPERS := $(patsubst tests/helpers/%.c,$(B)/tests/helpers/%,$(wildcard tests/helpers/*.c))
BENCH := $(patsubst tools/bench/%.c,$(B)/bench/%,$(filter-out %.bpf.c,$(wildcard tools/bench/*.c)))

.PHONY: all run demo test check lint fuzz bench kernels install deb clean setup bpf tests sanitized helpers benches
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BIN) $(BPF_OBJS)
bpf: $(BPF_OBJS)

setup:
	$(Q)tools/build/setup.sh build

run:
	$(Q)tools/build/setup.sh build
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all
	$(Q)build/bin/pcd --quickstart

demo:
	$(Q)tools/build/setup.sh build test
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all helpers
	$(Q)tools/build/demo.sh

# Everything that can run on this machine.
test:
	$(Q)tools/build/setup.sh build test clients
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) tests
	$(Q)tests/run.sh all

# What needs no privileges.
check: $(UNIT) $(SCENARIO)
	$(Q)tests/run.sh check

tests: all $(UNIT) $(BPFTEST) $(SCENARIO) $(FUZZERS) helpers $(BENCH)
sanitized: $(UNIT) $(SCENARIO)
helpers: $(HELPERS) $(BENCH_BPF)
benches: all $(BENCH) $(BENCH_BPF) helpers

lint:
	$(Q)tests/check/lint.sh

fuzz: $(FUZZERS)
	$(Q)tests/fuzz/run.sh $(or $(FUZZ_SECONDS),60)

bench:
	$(Q)tools/build/setup.sh build test
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) benches
	$(Q)tools/bench/run.sh
	$(Q)tools/bench/rates.sh

kernels:
	$(Q)tools/build/setup.sh build test kernels
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) tests
	$(Q)tests/kernels/run.sh

# --- compile ---
$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(foreach d,$(LIB_DIRS),$(eval $(call lib,$(d)): $(call obj_of,$(d))))
DP_FAKE_SRC := $(wildcard userspace/dp/*_fake.c) $(addprefix userspace/dp/dp_,info.c encode.c rate.c toll.c \
	pipe.c pipe_encode.c pipe_user.c)
$(LIB_DP_FAKE): $(DP_FAKE_SRC:%.c=$(B)/obj/%.o)

$(B)/lib/%.a:
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The version changes with every commit: only the file that prints it is compiled again.
$(B)/gen/version.h: FORCE
	@mkdir -p $(@D)
	@printf '/* SPDX-License-Identifier: MIT */\n#define PC_VERSION "%s"\n' '$(VERSION)' > $@.tmp
	@cmp -s $@.tmp $@ && rm $@.tmp || mv $@.tmp $@
.PHONY: FORCE
FORCE:
$(patsubst %.c,$(B)/obj/%.o,$(wildcard userspace/daemon/*.c userspace/dp/*.c tools/pcstat/*.c \
	tools/pcctl/*.c tools/pcpeer/*.c)): | $(B)/gen/version.h

# --- kernel programs ---
$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/abi/* bpf/lib/*)
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

# For tests of the guarded attach: drops whatever reaches it, behind the same watchdog.
$(B)/bpf/relay_dropall.bpf.o: bpf/relay.bpf.c $(wildcard bpf/abi/* bpf/lib/*)
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -DPC_TEST_DROP_ALL -c -o $@ $<

$(B)/bench/%.bpf.o: tools/bench/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(B)/gen/%.skel.h: $(B)/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $(*)_bpf > $@.tmp && mv $@.tmp $@

# The relay program with a replay window that refuses nobody.
$(B)/bench/pipes.bpf.o: bpf/relay.bpf.c $(wildcard bpf/abi/* bpf/lib/*)

# Those of the benchmark are for the programs beside them.
$(B)/gen/bench_%.skel.h: $(B)/bench/%.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name bench_$* > $@.tmp && mv $@.tmp $@

$(B)/obj/userspace/dp/dp_load.o: $(B)/gen/relay.skel.h
$(B)/obj/tools/bench/relay_load.o: $(B)/gen/bench_frames.skel.h
$(B)/obj/tests/helpers/turnwrap.o: $(B)/gen/bench_wrap.skel.h

# --- programs ---
$(B)/bin/pcd: $(B)/obj/userspace/daemon/main.o $(LIBS_A)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LIBS_A) -Wl,--end-group $(ALL_LIBS) $(JEMALLOC)

TOOL_LIBS := $(foreach d,userspace/ctl userspace/account userspace/store userspace/dp userspace/base,$(call lib,$(d)))
.SECONDEXPANSION:
$(B)/bin/pcstat $(B)/bin/pcctl: $(B)/bin/%: $$(addprefix $(B)/obj/,$$(subst .c,.o,$$(wildcard tools/$$*/*.c))) $(TOOL_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(TOOL_LIBS) -Wl,--end-group \
		$(LIBS_ctl) $(LIBS_account) $(LIBS_store) $(LIBS_dp) -lcrypto

PEER_LIBS := $(foreach d,userspace/ctl userspace/account userspace/store relay userspace/base,$(call lib,$(d)))
$(B)/bin/pcpeer: $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/pcpeer/*.c)) $(PEER_LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(PEER_LIBS) -Wl,--end-group \
		-lev -linih $(LIBS_ctl) $(LIBS_account) $(LIBS_store) $(LIBS_relay)

# --- tests ---
# A unit test links the real libraries; one whose name ends in _fake links the fake data plane.
dp_for = $(if $(filter %_fake,$(1)),$(filter-out %/libpc_dp.a,$(LIBS_A)) $(LIB_DP_FAKE),$(LIBS_A))
$(B)/tests/unit/% $(B)/tests/bpf/% $(B)/tests/scenario/%: $(B)/obj/tests/$$(notdir $$(@D))/%.o $$(call dp_for,$$@)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(call dp_for,$@) -Wl,--end-group -lcmocka $(ALL_LIBS)

$(B)/tests/helpers/%: $(B)/obj/tests/helpers/%.o $(LIBS_A)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LIBS_A) -Wl,--end-group $(ALL_LIBS)

$(B)/bench/%: $(B)/obj/tools/bench/%.o $(LIBS_A)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LIBS_A) -Wl,--end-group $(ALL_LIBS)

# Fuzzers take the sources, so that every line of the parsers is instrumented.
FUZZ_SRC := $(foreach d,userspace/base relay userspace/ctl userspace/store userspace/account,$(call src_of,$(d))) \
	userspace/daemon/config.c userspace/daemon/config_keys.c \
	userspace/daemon/config_tier.c qos/plan.c userspace/dp/dp_info.c
build/fuzz/fuzz_pipe: $(DP_FAKE_SRC)
build/fuzz/%: tests/fuzz/%.c $(FUZZ_SRC) $(B)/gen/version.h
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)$(CLANG) $(CPPFLAGS) -std=gnu11 -O1 -g -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all -o $@ $(filter %.c,$^) -linih -lsodium -lcrypto -ljansson -lsqlite3

clean:
	rm -rf build

install: all
	tools/build/install.sh '$(DESTDIR)' '$(PREFIX)'

deb: all
	tools/build/deb.sh '$(VERSION)'

-include $(shell [ -d $(B)/obj ] && find $(B)/obj -name '*.d')
