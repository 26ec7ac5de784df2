# Tests of loopscope report: the model from recordings with known numbers, then the command itself.
# "make check-unit-report SAN=address,undefined BUILD=build/san-report" runs them sanitized.
UNIT_REPORT_DIR := $(BUILD)/tests/unit/report
UNIT_REPORT_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/unit/report/*.c))
UNIT_REPORT_BIN := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/report/test-*.c))

$(BUILD)/obj/tests/unit/report/%.o: tests/unit/report/%.c | $(TRACE_GEN)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $$(pkg-config --cflags $(TRACER_PKGS)) -MMD -MP -c $< -o $@

$(UNIT_REPORT_BIN) $(UNIT_REPORT_DIR)/workload-tool: $(UNIT_REPORT_DIR)/%: \
		$(BUILD)/obj/tests/unit/report/%.o $(BUILD)/obj/tests/unit/report/workload.o \
		$(BUILD)/libloopscope.a $(BUILD)/libtrace.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ -o $@ $(TRACER_LIBS)

.PHONY: check-unit-report bench-report
check-unit: check-unit-report
check-unit-report: $(UNIT_REPORT_BIN) $(UNIT_REPORT_DIR)/workload-tool $(BUILD)/loopscope \
		$(BUILD)/demo-qemu-loop $(BUILD)/tests/unit/trace/recording-tool ## unit tests of loopscope report and export
	$(Q)for t in $(UNIT_REPORT_BIN); do \
		out=$$($$t --tap 2>&1) || { echo "$$out"; echo "FAILED: $$t"; exit 1; }; \
		printf '  %-8s %s: %d ok\n' CHECK $$t $$(echo "$$out" | grep -c '^ok'); \
	done
	$(Q)BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 \
		$(PYTHON) -m pytest -q -p no:cacheprovider tests/unit/report

bench-report: $(UNIT_REPORT_DIR)/workload-tool $(BUILD)/loopscope ## time and memory of a report of 10 M events, beside babeltrace2
	$(Q)tests/unit/report/bench-report.sh $(UNIT_REPORT_DIR)/workload-tool $(BUILD)/loopscope

-include $(UNIT_REPORT_OBJ:.o=.d)
