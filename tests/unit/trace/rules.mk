# Tests of trace/; "make check-trace SAN=address,undefined BUILD=build-san" runs them sanitized.
TRACE_TEST_DIR  := $(BUILD)/tests/unit/trace
TRACE_TESTS     := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/trace/test-*.c))
TRACE_TEST_BINS := $(TRACE_TESTS) $(TRACE_TEST_DIR)/recording-tool $(TRACE_TEST_DIR)/bench-ctf
TRACE_TEST_OBJ  := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/unit/trace/*.c))

.PHONY: check-trace bench-ctf

$(BUILD)/obj/tests/unit/trace/%.o: tests/unit/trace/%.c | $(TRACE_GEN)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $$(pkg-config --cflags glib-2.0) -MMD -MP -c $< -o $@

$(TRACE_TEST_BINS): $(TRACE_TEST_DIR)/%: $(BUILD)/obj/tests/unit/trace/%.o \
		$(BUILD)/obj/tests/unit/trace/recording.o $(BUILD)/libtrace.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ -o $@ $$(pkg-config --libs glib-2.0)

check-trace: $(TRACE_GEN) $(TRACE_TEST_BINS) ## test the table of events, its generator, recordings
	$(Q)set -e; for test in $(TRACE_TESTS); do $$test -q; done
	$(Q)BUILD=$(abspath $(BUILD)) CC='$(CC)' SAN='$(SAN)' PYTHONDONTWRITEBYTECODE=1 \
		$(PYTHON) -m pytest -q -p no:cacheprovider tests/unit/trace

bench-ctf: $(TRACE_TEST_DIR)/bench-ctf ## events a second written, read, and read by babeltrace2
	$(Q)tests/unit/trace/bench-ctf.sh $<

-include $(TRACE_TEST_OBJ:.o=.d)
