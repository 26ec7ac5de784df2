# Tests of what the doctor stands on: the unwinder. And its bench.
DOCTOR_TEST_DIR := $(BUILD)/tests/unit/doctor

.PHONY: check-unit-doctor bench-doctor
check-unit: check-unit-doctor

$(DOCTOR_TEST_DIR)/stack-tool: tests/unit/doctor/stack-tool.c $(BUILD)/libloopscope.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $$(pkg-config --cflags $(TRACER_PKGS)) $(ALL_LDFLAGS) $< \
		$(BUILD)/libloopscope.a -o $@ $(TRACER_LIBS)

# Once as an optimizing compiler leaves it, with names, and once as a distribution ships it.
$(DOCTOR_TEST_DIR)/chain: tests/unit/doctor/chain.c
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -fomit-frame-pointer -Wall -D_GNU_SOURCE $< -o $@ -lpthread

$(DOCTOR_TEST_DIR)/chain.stripped: $(DOCTOR_TEST_DIR)/chain
	$(Q)strip -o $@ $<

check-unit-doctor: $(DOCTOR_TEST_DIR)/stack-tool $(DOCTOR_TEST_DIR)/chain.stripped ## test the unwinder
	$(Q)BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 \
		$(PYTHON) -m pytest -q -rs -p no:cacheprovider tests/unit/doctor

# RUNS, MINUTES, JOBS: of tests/bench/doctor.py, which has defaults for them.
bench-doctor: all $(BUILD)/guest/vmlinuz $(BUILD)/tests/guest-poke $(BUILD)/bench/top-target ## verdicts on faulty loops, ten runs each, and on healthy ones for ten minutes; RUNS= MINUTES= JOBS=
	$(Q)BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/bench/doctor.py \
		$(if $(RUNS),--runs $(RUNS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(JOBS),--jobs $(JOBS))
