# What watching costs who is watched: "make bench-overhead" (a real guest), "make bench-top" (a very busy loop).
$(BUILD)/bench/top-target: $(BUILD)/obj/tests/bench/top-target.o $(BUILD)/libdemoloop.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ -o $@ $$(pkg-config --libs $(DEMO_PKGS)) -lpthread

-include $(BUILD)/obj/tests/bench/top-target.d

.PHONY: bench-top bench-overhead
bench-top: $(BUILD)/bench/top-target $(BUILD)/loopscope ## print what top costs a loop of 500,000 callbacks a second, beside bpftrace and perf
	$(Q)BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/overhead_top.py

bench-overhead: $(BUILD)/loopscope $(BUILD)/tests/guest-poke $(BUILD)/guest/vmlinuz $(BUILD)/bench/floor $(BUILD)/bench/tracer-target ## print what top and record cost a guest's disk, beside strace, perf trace, bpftrace, gdb
	$(Q)BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/overhead.py
