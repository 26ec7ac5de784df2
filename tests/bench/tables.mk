# What reading tables costs: "make bench-tables".
$(BUILD)/bench/tables-bare: tests/bench/tables-bare.c $(BUILD)/libloopscope.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $$(pkg-config --cflags $(TRACER_PKGS)) $(ALL_LDFLAGS) $< \
		$(BUILD)/libloopscope.a -o $@ $(TRACER_LIBS)

.PHONY: bench-tables
bench-tables: $(BUILD)/bench/tables-bare $(BUILD)/loopscope $(BUILD)/demo-qemu-loop ## print what reading the tables of 10,000 handlers costs, and the time to attach
	$(Q)BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/tables.py
