# What tracing costs, beside other tracers: "make bench-tracer". Those that are not installed are named.
BENCH_TRACER := $(addprefix $(BUILD)/bench/,tracer-target uftrace-target floor selfrec) \
	$(if $(LTTNG_UST),$(BUILD)/bench/selfrec-lttng)

# With shared libraries' calls and frame setup as they are by default: as a user would build it.
$(BUILD)/bench/tracer-target: tests/bench/tracer-target.c tests/bench/selfrec-burst.h $(PROBES_OBJ)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(filter %.c %.o,$^) -o $@ -lpthread

$(BUILD)/bench/uftrace-target: tests/bench/tracer-target.c tests/bench/selfrec-burst.h
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -DUFTRACE -Wno-unused-parameter -pg $(ALL_LDFLAGS) $< -o $@ -lpthread

$(BUILD)/bench/floor: tests/bench/floor.c $(BUILD)/tests/bench/floor.skel.h $(BUILD)/libloopscope.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $$(pkg-config --cflags $(TRACER_PKGS)) $(ALL_LDFLAGS) $< \
		$(BUILD)/libloopscope.a -o $@ $(TRACER_LIBS)

.PHONY: bench-tracer
bench-tracer: $(BENCH_TRACER) $(BUILD)/loopscope ## print what an event costs the target, beside perf, bpftrace, LTTng, uftrace, strace; losses
	$(Q)$(PYTHON) -B tests/bench/tracer.py --build $(abspath $(BUILD))
