# Fuzzers of what reads foreign bytes (tests/fuzz/README.md): fuzz-NAME.c, with AddressSanitizer and
# UBSan, all in BUILD/fuzz.  Only the parts of loopscope that they link are built again for that.
FUZZ_SAN   := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
FUZZ_FLAGS  = -O1 -gline-tables-only $(FUZZ_SAN) -std=gnu11 -D_GNU_SOURCE -I. -Itrace -I$(BUILD) \
              -fno-omit-frame-pointer -w $$(pkg-config --cflags $(TRACER_PKGS))
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz-%.c,%,$(wildcard tests/fuzz/fuzz-*.c))
FUZZ_BIN   := $(FUZZ_NAMES:%=$(BUILD)/fuzz/fuzz-%)
FUZZ_OBJ   := $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(TRACER_SRC) $(wildcard trace/*.c tests/fuzz/*.c)) \
              $(BUILD)/fuzz/obj/trace/loop_table.o
FUZZ_LIB   := $(filter-out %/tracer/main.o $(BUILD)/fuzz/obj/tests/fuzz/%,$(FUZZ_OBJ)) \
              $(BUILD)/fuzz/obj/tests/fuzz/fuzz.o

$(BUILD)/fuzz/obj/%.o: %.c | $(BPF_SKEL) $(TRACE_GEN)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/fuzz/obj/trace/loop_table.o: $(BUILD)/trace/loop_table.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/fuzz/libfuzzed.a: $(FUZZ_LIB)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

FUZZ_PROC_OBJ := $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(wildcard tests/fuzz/proc-*.c))
$(BUILD)/fuzz/fuzz-proc: FUZZ_WRAP := fopen open readlink access opendir readdir closedir socket \
	process_vm_readv g_file_get_contents
$(BUILD)/fuzz/fuzz-core: FUZZ_WRAP := open
$(BUILD)/fuzz/fuzz-proc: $(FUZZ_PROC_OBJ)

$(FUZZ_BIN): $(BUILD)/fuzz/fuzz-%: $(BUILD)/fuzz/obj/tests/fuzz/fuzz-%.o $(BUILD)/fuzz/libfuzzed.a
	$(call say,LINK,$@)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined $(FUZZ_WRAP:%=-Wl,--wrap=%) \
		$(filter %.o,$^) $(filter %.a,$^) -o $@ $(TRACER_LIBS)

-include $(FUZZ_OBJ:.o=.d)

# Each over its corpus once: what was found stays found.  Leaks are not looked for: libelf keeps some.
.PHONY: check-fuzz fuzz $(FUZZ_NAMES:%=fuzz-%)
check-fuzz: $(BPF_SKEL) $(TRACE_GEN) ## every fuzzer over its corpus, once, with sanitizers
	$(Q)$(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j2) $(FUZZ_BIN)
	$(Q)for name in $(FUZZ_NAMES); do \
		if out=$$(ASAN_OPTIONS=detect_leaks=0 $(BUILD)/fuzz/fuzz-$$name tests/fuzz/corpus/$$name/* 2>&1); then \
			printf '  %-8s %s: %d inputs\n' CHECK $(BUILD)/fuzz/fuzz-$$name $$(echo "$$out" | grep -c '^Executed '); \
		else \
			echo "$$out" | tail -n 40; echo "FAILED: fuzz-$$name"; exit 1; \
		fi; \
	done

fuzz: $(FUZZ_NAMES:%=fuzz-%) ## fuzz each reader of foreign bytes: RUNS=1000000; what is new is kept in build/fuzz

# New inputs go to BUILD/fuzz/corpus, one that fails to BUILD/fuzz/NAME-crash-...
$(FUZZ_NAMES:%=fuzz-%): fuzz-%: $(BUILD)/fuzz/fuzz-%
	$(Q)mkdir -p $(BUILD)/fuzz/corpus/$*
	$(Q)ASAN_OPTIONS=detect_leaks=0 $< -runs=$(or $(RUNS),100000) -max_len=8192 -artifact_prefix=$(BUILD)/fuzz/$*- \
		$(BUILD)/fuzz/corpus/$* tests/fuzz/corpus/$* >$(BUILD)/fuzz/$*.log 2>&1 || { \
		tail -n 40 $(BUILD)/fuzz/$*.log; echo "FAILED: $@ (all of it: $(BUILD)/fuzz/$*.log)"; exit 1; }
	$(Q)printf '  %-8s %s: %s\n' FUZZ $* "$$(tail -n 1 $(BUILD)/fuzz/$*.log)"
