# loopscope and demo-qemu-loop: one Makefile for the whole tree.  Type "make help".
# Everything it makes lies in build/, so "rm -rf build" is a complete clean-up.

BUILD    ?= build
CC       ?= gcc
CLANG    ?= clang
BPFTOOL  ?= bpftool
# Always Debian's python3: another one first on PATH would not see Debian's modules.
PYTHON   := /usr/bin/python3

WERROR   ?=
SAN      ?=
OPT      ?= -O2
CFLAGS   ?= $(OPT) -g
ALL_CFLAGS = -std=gnu11 -Wall -Wextra $(if $(WERROR),-Werror) -fno-omit-frame-pointer \
             -D_GNU_SOURCE -I. -Itrace -I$(BUILD) \
             $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all) $(CFLAGS)
ALL_LDFLAGS = $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

# "make V=1" shows the commands.
Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-8s %s\n' $(1) $(2))

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.PHONY: all setup demo check check-full check-unit check-spin check-integration check-tracer check-gdb check-vm check-debians check-labs labs grade release stress-notify lint bench-attach bench-gdb bench-loop bench-selfrec bench-stalls help clean

all: $(BUILD)/loopscope $(BUILD)/demo-qemu-loop ## build loopscope and demo-qemu-loop

# --- the table of events, recordings -----------------------------------------------------------
include trace/rules.mk

# --- the reference main loop ------------------------------------------------------------------
# Every .c in demo-qemu-loop/ but the program's own (demo*.c) is the library.
DEMO_PKGS  := glib-2.0 liburing
DEMO_SRC   := $(wildcard demo-qemu-loop/*.c)
DEMO_OBJ   := $(DEMO_SRC:%.c=$(BUILD)/obj/%.o)
DEMO_LIB   := $(filter-out $(BUILD)/obj/demo-qemu-loop/demo%.o,$(DEMO_OBJ))
DEMO_CFLAGS = -Idemo-qemu-loop $$(pkg-config --cflags $(DEMO_PKGS))

$(BUILD)/obj/demo-qemu-loop/%.o: demo-qemu-loop/%.c | $(TRACE_GEN)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEMO_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libdemoloop.a: $(DEMO_LIB) $(PROBES_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/demo-qemu-loop: $(filter $(BUILD)/obj/demo-qemu-loop/demo%.o,$(DEMO_OBJ)) \
		$(BUILD)/libdemoloop.a $(BUILD)/libtrace.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -rdynamic $^ -o $@ $$(pkg-config --libs $(DEMO_PKGS)) -lpthread

# The same without probes, to see that they change nothing but what can be seen.
DEMO_BARE_OBJ := $(DEMO_SRC:%.c=$(BUILD)/obj-noprobes/%.o)

$(BUILD)/obj-noprobes/demo-qemu-loop/%.o: demo-qemu-loop/%.c | $(TRACE_GEN)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEMO_CFLAGS) -DNO_PROBES -MMD -MP -c $< -o $@

$(BUILD)/demo-qemu-loop-noprobes: $(DEMO_BARE_OBJ) $(BUILD)/libtrace.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -rdynamic $^ -o $@ $$(pkg-config --libs $(DEMO_PKGS)) -lpthread

# --- GLib's basic examples: programs of their own, which need nothing but GLib ------------------
GLIB_EXAMPLES := $(BUILD)/glib-io-watch $(BUILD)/glib-custom-source $(BUILD)/glib-faults
GLIB_OBJ      := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard demo-qemu-loop/glib/*.c))
all: $(GLIB_EXAMPLES)

$(GLIB_EXAMPLES): $(BUILD)/glib-%: $(BUILD)/obj/demo-qemu-loop/glib/%.o $(BUILD)/obj/demo-qemu-loop/glib/example.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -rdynamic $^ -o $@ $$(pkg-config --libs glib-2.0)

$(BUILD)/glib-faults: $(BUILD)/obj/demo-qemu-loop/glib/faults-away.o

-include $(GLIB_OBJ:.o=.d)

# A program of the tests without probes, which coroutines run in.
HIGH_STACK_OBJ := $(filter-out $(BUILD)/obj-noprobes/demo-qemu-loop/demo%.o,$(DEMO_BARE_OBJ))

$(BUILD)/tests/high-stack: tests/integration/high-stack.c $(HIGH_STACK_OBJ) $(BUILD)/libtrace.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEMO_CFLAGS) -DNO_PROBES $(ALL_LDFLAGS) -rdynamic $^ -o $@ \
		$$(pkg-config --libs $(DEMO_PKGS)) -lpthread

# With probes, and more callbacks than top has room for.
$(BUILD)/tests/many-callbacks: tests/integration/many-callbacks.c $(PROBES_OBJ)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ -o $@

# --- the bpf programs -------------------------------------------------------------------------
BPF_CC    = $(CLANG) -g -O2 -target bpf -D__TARGET_ARCH_x86 -Wall -Werror -I. -I$(BUILD) \
            -idirafter /usr/include/$$($(CC) -print-multiarch) -MMD -MP
# A skeleton is libbpf's text, not ours: clang-tidy passes it over.
GEN_SKEL  = { echo '// NOLINTBEGIN'; $(BPFTOOL) gen skeleton $< name $(subst -,_,$(notdir $*))_bpf && \
            echo '// NOLINTEND'; } > $@
BPF_SRC  := $(wildcard bpf/*.bpf.c)
BPF_SKEL := $(BPF_SRC:bpf/%.bpf.c=$(BUILD)/bpf/%.skel.h)

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(BPF_CC) -c $< -o $@

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(GEN_SKEL)

# --- loopscope --------------------------------------------------------------------------------
TRACER_PKGS := libbpf libelf libdw capstone jansson glib-2.0 ncursesw
TRACER_SRC  := $(wildcard tracer/*.c)
TRACER_OBJ  := $(TRACER_SRC:%.c=$(BUILD)/obj/%.o)
TRACER_LIBS  = $$(pkg-config --libs $(TRACER_PKGS)) -lpthread
TRACER_LIB  := $(filter-out $(BUILD)/obj/tracer/main.o,$(TRACER_OBJ))

$(BUILD)/obj/tracer/%.o: tracer/%.c | $(BPF_SKEL) $(TRACE_GEN)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $$(pkg-config --cflags $(TRACER_PKGS)) -MMD -MP -c $< -o $@

# It has the files of the page in it.
$(BUILD)/obj/tracer/page-files.o: $(wildcard tracer/html/*)

$(BUILD)/libloopscope.a: $(TRACER_LIB)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/loopscope: $(BUILD)/obj/tracer/main.o $(BUILD)/libloopscope.a $(BUILD)/libtrace.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ -o $@ $(TRACER_LIBS)

# --- tests and benches ------------------------------------------------------------------------
$(BUILD)/tests/%.bpf.o: tests/%.bpf.c
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(BPF_CC) -c $< -o $@

$(BUILD)/tests/%.skel.h: $(BUILD)/tests/%.bpf.o
	$(Q)$(GEN_SKEL)

$(BUILD)/bench/attach-sites: tests/bench/attach-sites.c $(BUILD)/tests/bench/hits.skel.h $(BUILD)/libloopscope.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $$(pkg-config --cflags $(TRACER_PKGS)) $(ALL_LDFLAGS) $< \
		$(BUILD)/libloopscope.a -o $@ $(TRACER_LIBS)

$(BUILD)/bench/hot: tests/bench/hot.c
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $< -o $@

BENCH_LOOP_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/bench/bench-loop*.c))

$(BUILD)/obj/tests/bench/%.o: tests/bench/%.c | $(TRACE_GEN)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEMO_CFLAGS) -Idemo-qemu-loop/include -MMD -MP -c $< -o $@

$(BUILD)/bench/bench-loop: $(BENCH_LOOP_OBJ) $(BUILD)/libdemoloop.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ -o $@ $$(pkg-config --libs $(DEMO_PKGS)) -lpthread

-include $(BENCH_LOOP_OBJ:.o=.d)

$(BUILD)/bench/selfrec: tests/bench/selfrec.c tests/bench/selfrec-burst.h $(BUILD)/libdemoloop.a $(BUILD)/libtrace.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEMO_CFLAGS) $(ALL_LDFLAGS) $(filter %.c %.a,$^) -o $@ $$(pkg-config --libs $(DEMO_PKGS)) -lpthread

# Where LTTng-UST is installed it is measured in the same run.
LTTNG_UST := $(shell pkg-config --exists lttng-ust 2>/dev/null && echo yes)
$(BUILD)/bench/selfrec-lttng: tests/bench/selfrec-lttng.c tests/bench/lttng-loop.h tests/bench/selfrec-burst.h
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $< -o $@ $$(pkg-config --libs lttng-ust) -ldl

# A test directory that needs rules of its own has them in rules.mk.
include $(wildcard tests/unit/*/rules.mk tests/fuzz/rules.mk tests/browser/rules.mk tests/bench/*.mk)

lint: $(BPF_SKEL) $(TRACE_GEN) ## formatting, clang-tidy, cppcheck, shellcheck, black
	$(Q)tests/lint.sh $(BUILD) "$(ALL_CFLAGS) $$(pkg-config --cflags $(TRACER_PKGS)) -Idemo-qemu-loop"

bench-attach: $(BUILD)/bench/attach-sites $(BUILD)/bench/hot ## print what attaching costs: 200 sites on QEMU, SIGKILL, losses
	$(Q)$(PYTHON) tests/bench/attach.py --build $(BUILD)

bench-loop: $(BUILD)/bench/bench-loop ## print what the loop's operations cost, beside GLib and bare system calls
	$(Q)$(BUILD)/bench/bench-loop

bench-selfrec: $(BUILD)/bench/selfrec $(if $(LTTNG_UST),$(BUILD)/bench/selfrec-lttng) ## print what an event costs a program that records itself, and losses
	$(Q)tests/bench/selfrec.sh $^

bench-gdb: $(BUILD)/demo-qemu-loop ## print what listing 10,000 of a kind costs in gdb, beside a script written by hand
	$(Q)$(PYTHON) tests/bench/gdb_tables.py --build $(BUILD)

bench-stalls: $(BUILD)/loopscope $(BUILD)/demo-qemu-loop ## print what loopscope stalls costs the loop it watches, and others
	$(Q)$(PYTHON) tests/bench/stalls.py

# --- the labs (notebooks/README.md) -------------------------------------------------------------
LABS        = $(BUILD)/demo-qemu-loop $(GLIB_EXAMPLES)
LABS_PYTHON = BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(CURDIR)/notebooks $(PYTHON)

labs: ## the labs, in jupyter-notebook; no root, no tracer needed
	$(Q).ci/setup labs
	$(Q)$(MAKE) --no-print-directory $(LABS)
	$(Q)cd notebooks && $(LABS_PYTHON) -m notebook $(JUPYTER)

grade: $(LABS) ## marks for what a student or a class handed in: LAB=3 ANSWERS=dir
	$(Q)$(LABS_PYTHON) -m looplabs.grade --lab '$(LAB)' --answers '$(ANSWERS)'

release: $(LABS) ## the students' version of the labs, without solutions, in build/release
	$(Q)$(LABS_PYTHON) -m looplabs.release $(BUILD)/release

check-labs: $(LABS) ## test the labs' package; with FULL=1 also each notebook, with and without answers
	$(Q)$(LABS_PYTHON) -m pytest -q -rs -p no:cacheprovider tests/notebooks

# --- man pages, installing, the package -------------------------------------------------------------
include packaging/rules.mk

# --- what people type -------------------------------------------------------------------------
demo: ## a tour: the demo loop and a real QEMU, seen by loopscope and by gdb
	$(Q).ci/setup build run
	$(Q)$(MAKE) --no-print-directory all
	$(Q)docs/tour.sh $(BUILD)

check: ## everything that is tested in minutes; what cannot run here says why
	$(Q).ci/setup build run test labs
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(MAKE) --no-print-directory lint check-unit check-spin check-integration check-labs

check-full: ## the same, and under sanitizers, 10,000,000 rounds, benches: within an hour; STEPS="..." picks
	$(Q).ci/setup build run test labs
	$(Q)$(MAKE) --no-print-directory all
	$(Q)MAKE='$(MAKE)' tests/check-full.sh $(BUILD) $(STEPS)

check-unit: check-trace check-unit-demo check-unit-tracer ## unit tests

# What runs in a guest of the tests brings its libc with it.
$(BUILD)/tests/guest-poke: tests/integration/guest-poke.c
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Wextra $(if $(WERROR),-Werror) -static -s $< -o $@

# Debian's kernel for the guests of the tests. Where it cannot be had, they skip and say so.
$(BUILD)/guest/vmlinuz: | tests/guest-kernel.sh
	-$(Q)tests/guest-kernel.sh $(@D)

check-integration: check-tracer check-gdb ## loopscope and gdb on the demo and on QEMU

# One after the other: some count all bpf programs of the system.
check-tracer: $(BUILD)/guest/vmlinuz $(BUILD)/tests/guest-poke $(BUILD)/loopscope $(BUILD)/demo-qemu-loop $(BUILD)/demo-qemu-loop-noprobes $(BUILD)/tests/high-stack $(BUILD)/tests/many-callbacks $(BUILD)/bench/top-target
	$(Q)tests/integration/run.sh $(BUILD) tests/integration --ignore tests/integration/gdb

# Nothing of a gdb test is seen by another: as many at once as there are processors.
check-gdb: $(BUILD)/loopscope $(BUILD)/demo-qemu-loop
	$(Q)tests/integration/run.sh $(BUILD) tests/integration/gdb --numprocesses auto

# On the kernel of the guests, which is older than 6.6.
check-vm: $(BUILD)/guest/vmlinuz $(BUILD)/tests/guest-poke $(BUILD)/loopscope $(BUILD)/demo-qemu-loop ## loopscope on Debian's kernel 6.1, in a QEMU under TCG: minutes
	$(Q)PYTHONPATH=tests/integration tests/integration/run.sh $(BUILD) tests/vm

check-debians: deb $(BUILD)/guest/vmlinuz $(BUILD)/tests/guest-poke ## QEMU and GLib of other Debian releases, and our package on fresh ones: minutes, a network once
	$(Q)tests/debians/run.sh $(BUILD)

check-spin: ## the notify protocol in every order, by spin; its mutants must fail
	$(Q)$(PYTHON) -B tests/spin/check.py --build $(BUILD)

# A lost wake-up would hang it for ever: half an hour is many times what it takes.
STRESS_NOTIFY := tests/unit/demo/test-notify-stress
stress-notify: $(BUILD)/$(STRESS_NOTIFY) ## 10,000,000 rounds of the notify protocol, then under ThreadSanitizer
	$(Q)timeout 1800 $(BUILD)/$(STRESS_NOTIFY) --verbose -m slow
	$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/tsan SAN=thread $(BUILD)/tsan/$(STRESS_NOTIFY)
	$(Q)timeout 1800 $(BUILD)/tsan/$(STRESS_NOTIFY) --verbose -m slow

setup: ## install the Debian packages that are missing (says which)
	$(Q).ci/setup

clean: ## remove everything that was built
	rm -rf $(BUILD)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' \
		$(filter Makefile %.mk,$(MAKEFILE_LIST))

-include $(DEMO_OBJ:.o=.d) $(DEMO_BARE_OBJ:.o=.d) $(TRACER_OBJ:.o=.d) $(BPF_SKEL:.skel.h=.bpf.d) \
         $(patsubst %.c,$(BUILD)/%.d,$(wildcard tests/*/*.bpf.c tests/*/*/*.bpf.c))
