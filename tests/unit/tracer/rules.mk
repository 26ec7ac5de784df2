# Unit tests of the tracer's library, one program per test-*.c; sample-functions.S is functions to look at.
# "make check-unit-tracer SAN=address,undefined BUILD=build/san" runs them sanitized.
UNIT_TRACER_DIR := $(BUILD)/tests/unit/tracer
UNIT_TRACER_SRC := $(filter-out %.bpf.c,$(wildcard tests/unit/tracer/*.c)) $(wildcard tests/unit/tracer/*.S)
UNIT_TRACER_OBJ := $(patsubst %,$(BUILD)/obj/%.o,$(basename $(UNIT_TRACER_SRC)))
UNIT_TRACER_BIN := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/tracer/test-*.c))
UNIT_TRACER_LIB := $(filter-out $(BUILD)/obj/tests/unit/tracer/test-%,$(UNIT_TRACER_OBJ))

$(BUILD)/obj/tests/unit/tracer/%.o: tests/unit/tracer/%.c | $(TRACE_GEN)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $$(pkg-config --cflags $(TRACER_PKGS)) -MMD -MP -c $< -o $@

$(BUILD)/obj/tests/unit/tracer/%.o: tests/unit/tracer/%.S
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/tests/unit/tracer/test-btf.o: $(UNIT_TRACER_DIR)/fields.skel.h

$(UNIT_TRACER_BIN): $(UNIT_TRACER_DIR)/%: $(BUILD)/obj/tests/unit/tracer/%.o $(UNIT_TRACER_LIB) \
		$(BUILD)/libloopscope.a $(BUILD)/libtrace.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ -o $@ $(TRACER_LIBS)

# Every program runs, also after one that failed, and that one shows all it said. GLib's and
# elfutils' caches are not ours to free: leaks are looked for by other means.
.PHONY: check-unit-tracer
check-unit-tracer: $(UNIT_TRACER_BIN) ## unit tests of the tracer's library
	$(Q)bad=; for t in $(UNIT_TRACER_BIN); do \
		if out=$$(ASAN_OPTIONS=detect_leaks=0 $$t --tap -k 2>&1); then \
			printf '  %-8s %s: %d ok\n' CHECK $$t $$(echo "$$out" | grep -c '^ok'); \
		else \
			echo "$$out" | grep -v '^ok\|^# '; echo "FAILED: $$t"; bad=1; \
		fi; \
	done; [ -z "$$bad" ]

-include $(UNIT_TRACER_OBJ:.o=.d)
